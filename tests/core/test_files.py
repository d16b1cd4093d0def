"""A file is written whole or not at all; what cannot be written is said with the remedy."""

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fewshot.core.errors import OutputError
from fewshot.core.files import (
    atomic_folder,
    atomic_path,
    atomic_write,
    file_digest,
    file_sha256,
    make_folder,
    remove_abandoned,
    write_bytes,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "höhe\n")
    write_bytes(tmp_path / "b.bin", b"\0\1")
    with atomic_write(tmp_path / "c.bin") as stream:
        stream.write(b"one ")
        stream.write(b"two")
    with atomic_path(tmp_path / "d.bin") as temporary:
        temporary.write_bytes(b"by name")

    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "höhe\n"
    assert [(tmp_path / name).read_bytes() for name in ("b.bin", "c.bin", "d.bin")] == [b"\0\1", b"one two", b"by name"]
    assert names(tmp_path) == ["a.txt", "b.bin", "c.bin", "d.bin"]


def test_readers_see_the_old_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")

    with atomic_write(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"

    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("bad value"), KeyboardInterrupt(), OSError(errno.EIO, "disk")])
def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(tmp_path: Path, error: BaseException) -> None:
    path = write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with atomic_write(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        fail()

    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_killed_writer_leaves_the_old_content_and_its_temporary_file_can_be_removed(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")
    (tmp_path / "a.txt.more.tmp").write_text("another's")
    script = (
        "import sys; from fewshot.core.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as stream:\n"
        "    stream.write(b'half'); stream.flush(); print('half', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()

    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 3
    remove_abandoned(path)
    assert names(tmp_path) == ["a.txt", "a.txt.more.tmp"]


def test_a_link_planted_at_the_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.core.files.secrets.token_hex", lambda _: "0" * 16)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"a.txt.{'0' * 16}.tmp").symlink_to(victim)

    with pytest.raises(OutputError, match=r"a\.txt cannot be written: File exists"):
        write_text(tmp_path / "a.txt", "new")

    assert victim.read_text() == "precious"


def test_temporary_names_differ_from_write_to_write(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        with atomic_path(tmp_path / "a") as temporary:
            seen.add(temporary.name)
    assert len(seen) == 3


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "")
    path.chmod(0o640)

    write_text(path, "new")

    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_name_of_the_longest_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)

    write_text(path, "x")
    remove_abandoned(path)

    assert path.read_text() == "x"


def test_two_threads_that_write_one_file_leave_one_whole_content(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(tmp_path / "a", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (tmp_path / "a").read_bytes() in contents
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "no space is left on its disk; free some and run the same command again"),
        (errno.EDQUOT, "no space is left on its disk"),
        (errno.EROFS, "its file system is read-only; give another path by --index-file"),
        (errno.EIO, r"Input/output error; give another path by --index-file"),
    ],
)
def test_what_the_disk_refuses_has_its_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    path = write_text(tmp_path / "a.txt", "old")

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fewshot.core.files.os.fsync", refuse)

    with pytest.raises(OutputError, match=f"a.txt cannot be written: {sentence}"):
        write_text(path, "new", option="--index-file")

    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"there is no folder .*/none; make it, or give another path by -o"):
        write_text(tmp_path / "none" / "a.txt", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"there is no folder .*/file; make it"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_a_folder_or_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OutputError, match="it is a folder; give -o the name of a file"):
        write_text(tmp_path / "folder", "")
    for name in ("null", "pipe"):
        with pytest.raises(OutputError, match="it is a device or a pipe, not a file"):
            write_text(tmp_path / name, "")

    assert names(tmp_path) == ["folder", "null", "pipe"]


def test_a_folder_one_may_not_write_to_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("fewshot.core.files.os.open", refuse)  # root, as whom tests may run, is refused nothing

    with pytest.raises(OutputError, match=f"you may not write to {tmp_path}; give another path by -o"):
        write_text(tmp_path / "a.txt", "")


def test_the_hash_of_a_file_is_that_of_its_bytes_and_of_a_folder_that_of_its_files_in_name_order(
    tmp_path: Path,
) -> None:
    for name, content in (("b", b"two"), ("a", b"one")):
        write_bytes(tmp_path / name, content)

    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"one").hexdigest()
    assert file_digest(tmp_path / "a", "md5") == hashlib.md5(b"one").hexdigest()
    assert file_sha256(tmp_path) == hashlib.sha256(b"onetwo").hexdigest()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "bad") as folder:
            (folder / "a").write_text("")
            raise OSError(errno.ENOSPC, "full")

    with atomic_folder(tmp_path / "good") as folder:
        (folder / "a").write_text("one")
        assert not (tmp_path / "good").exists()
    with pytest.raises(OutputError, match="bad cannot be written: no space is left"):
        fail()

    assert names(tmp_path) == ["good"]
    assert (tmp_path / "good/a").read_text() == "one"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert make_folder(tmp_path / "a/b") == make_folder(tmp_path / "a/b")
    with pytest.raises(OutputError, match=r"the folder .*/file cannot be made: it is a file; give another path by -o"):
        make_folder(tmp_path / "file")
