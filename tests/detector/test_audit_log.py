"""The audit log: appended to and never rewritten, whole after a kill, and read with every line checked."""

import json
import multiprocessing
import os
import resource
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from fewshot.core.errors import InputError, OutputError
from fewshot.detector.audit_log import AuditEntry, AuditLog, read_audit_log

ENTRY = AuditEntry(
    time="2026-01-31T12:00:00.123+00:00",
    image_sha256="a" * 64,
    detector_sha256="b" * 64,
    image="inbox/a.jpg",
    score=0.1 + 0.2,
    verdict="synthetic",
    unknown=True,
    p_value=0.04,
    alarm=0.25,
    clear=-1e-17,
)


def entry(number: int) -> AuditEntry:
    return replace(ENTRY, image=f"{number}.jpg", score=number / 3)


def write(path: Path, *entries: AuditEntry) -> None:
    with AuditLog(path) as log:
        log.append(entries)


def test_entries_come_back_as_they_were_written(tmp_path: Path) -> None:
    names = ["plain.jpg", "höhe\n\u2028.jpg", os.fsdecode(b"not-utf8-\xff.jpg"), '"; \x1b[2J']
    entries = [replace(ENTRY, image=name) for name in names]

    write(tmp_path / "a.jsonl", *entries[:2])
    write(tmp_path / "a.jsonl", *entries[2:])

    assert read_audit_log(tmp_path / "a.jsonl") == entries
    assert (tmp_path / "a.jsonl").read_bytes().isascii()


def test_each_line_is_json_with_thresholds_hashes_and_time(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", ENTRY)

    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()

    assert json.loads(line) == {
        "audit": 1,
        "time": "2026-01-31T12:00:00.123+00:00",
        "image_sha256": "a" * 64,
        "detector_sha256": "b" * 64,
        "image": "inbox/a.jpg",
        "score": 0.1 + 0.2,
        "verdict": "synthetic",
        "unknown": True,
        "p_value": 0.04,
        "alarm": 0.25,
        "clear": -1e-17,
    }


def test_a_log_cut_at_any_byte_of_its_last_line_goes_on_with_whole_lines(tmp_path: Path) -> None:
    write(tmp_path / "whole.jsonl", entry(1), entry(2))
    whole = (tmp_path / "whole.jsonl").read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second, len(whole)):
        (tmp_path / "a.jsonl").write_bytes(whole[:end])

        write(tmp_path / "a.jsonl", entry(3))

        kept = [entry(1), entry(2)] if end == len(whole) - 1 else [entry(1)]
        assert read_audit_log(tmp_path / "a.jsonl") == [*kept, entry(3)]


def test_a_first_line_that_was_cut_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"audit": 1, "time": "20')

    write(tmp_path / "a.jsonl", entry(3))

    assert read_audit_log(tmp_path / "a.jsonl") == [entry(3)]


def test_a_reader_passes_over_a_last_line_that_is_still_being_written(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", entry(1))
    with (tmp_path / "a.jsonl").open("ab") as stream:
        stream.write(b'{"audit": 1, "ti')

    assert read_audit_log(tmp_path / "a.jsonl") == [entry(1)]


@pytest.mark.parametrize("content", [b"precious", b'{"mine": 1}\n', b'{"schema": 1, "protocol": "fiser"}', b"\0" * 99])
def test_another_file_is_never_appended_to(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine").write_bytes(content)

    with pytest.raises(OutputError, match=r"mine is there already and is not an audit log of fewshot"):
        AuditLog(tmp_path / "mine")

    assert (tmp_path / "mine").read_bytes() == content


def test_folders_pipes_and_missing_folders_are_refused_in_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path, "it is a folder; give --log the name of a file"),
        (tmp_path / "pipe", "it is a device or a pipe, not a file; give --log the name of a file"),
        (tmp_path / "none" / "a.jsonl", "make it, or give another path by --log"),
    ):
        with pytest.raises(OutputError, match=said):
            AuditLog(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("score", "NaN", "NaN is no number"),
        ("score", "1e999", r"1e\+300"),
        ("score", '"0.5"', "Expected `float`"),
        ("verdict", '"guilty"', "Invalid enum value"),
        ("p_value", "1.5", "<= 1.0"),
        ("image_sha256", '"abc"', "regex"),
        ("time", '"yesterday"', "isoformat"),
        ("time", '"2026-01-31T12:00:00"', "no time zone"),
        ("audit", "2", "<= 1"),
    ],
)
def test_a_line_that_was_altered_is_named_with_its_number(tmp_path: Path, field: str, value: str, said: str) -> None:
    write(tmp_path / "a.jsonl", entry(1))
    document = {"audit": 1, **{name: getattr(ENTRY, name) for name in AuditEntry.__dataclass_fields__}, field: "@"}
    with (tmp_path / "a.jsonl").open("a") as stream:
        stream.write(json.dumps(document).replace('"@"', value) + "\n")

    with pytest.raises(InputError, match=rf"a\.jsonl, line 2: .*{said}"):
        read_audit_log(tmp_path / "a.jsonl")


@pytest.mark.parametrize("content", [b"[" * 100_000 + b"\n", b"\xff\n", b"\n", b"1\n", b"{" + b" " * (2 << 20)])
def test_hostile_lines_are_refused_and_not_raised(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)

    with pytest.raises(InputError, match="line 1: this is no line of an audit log"):
        read_audit_log(tmp_path / "a.jsonl")


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the audit log .*none\.jsonl cannot be read \(No such file"):
        read_audit_log(tmp_path / "none.jsonl")


def test_lines_that_do_not_fit_are_taken_back_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", entry(1))
    size = (tmp_path / "a.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with AuditLog(tmp_path / "a.jsonl") as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        try:
            with pytest.raises(OutputError, match="files may not grow so large here"):
                log.append([entry(2)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert read_audit_log(tmp_path / "a.jsonl") == [entry(1)]


def _append_many(path: Path, first: int) -> None:
    with AuditLog(path) as log:
        for number in range(first, first + 50):
            log.append([entry(number)])


def test_several_processes_may_append_to_one_log(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(tmp_path / "a.jsonl", first)) for first in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    found = sorted(int(each.image.removesuffix(".jpg")) for each in read_audit_log(tmp_path / "a.jsonl"))

    assert found == [*range(50), *range(100, 150), *range(200, 250)]
