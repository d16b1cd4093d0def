"""Only regular files are read: nothing blocks, nothing unbounded is read."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fewshot.core.regular_files import open_regular, read_regular, require_regular

READERS: dict[str, Callable[[Path], object]] = {
    "require": require_regular,
    "open": open_regular,
    "read": lambda path: read_regular(path, limit=1 << 20),
}


@pytest.fixture(params=["pipe", "device", "folder", "socket"])
def unsuitable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "x"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    return path


@pytest.mark.parametrize("reader", READERS)
def test_what_is_not_a_regular_file_is_refused_at_once(reader: str, unsuitable: Path) -> None:
    with pytest.raises(OSError, match=r"not a regular file|No such device") as raised:
        READERS[reader](unsuitable)
    assert raised.value.errno in (errno.EINVAL, errno.EISDIR, errno.ENXIO)


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b", limit=5) == b"12345"


@pytest.mark.parametrize("reader", [require_regular, open_regular, read_regular])
def test_a_sparse_file_above_the_limit_is_not_read(reader, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(10_000_000_000)
    with pytest.raises(OSError, match=r"10\.0 GB, and at most 1\.0 GB") as raised:
        reader(tmp_path / "sparse", limit=1_000_000_000)
    assert raised.value.errno == errno.EFBIG


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")
def test_a_file_that_claims_no_size_is_read_up_to_the_limit() -> None:
    with pytest.raises(OSError, match="more than 8 bytes"):
        read_regular("/proc/self/maps", limit=8)
