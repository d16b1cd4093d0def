"""A server that lies, trickles or never ends costs a bounded time and room, and one sentence; no file of the user's."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from fewshot.core.errors import OutputError, WeightsError
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.weights.download import fetch
from fewshot.embeddings.weights.locate import PINS
from fewshot.embeddings.weights.partial_file import PartialFile

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Hostile(BaseHTTPRequestHandler):
    """Answers each path with the trick of that name."""

    over: ClassVar[threading.Event] = threading.Event()
    asked: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        Hostile.asked.append({name.lower(): value for name, value in self.headers.items()})
        with suppress(OSError):  # the client has hung up
            getattr(self, self.path.removeprefix("/").replace("-", "_"))()

    def head(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def silent(self) -> None:
        Hostile.over.wait(20)

    def slow_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not Hostile.over.wait(0.05):
            self.wfile.write(b"X-More: 1\r\n")

    def slow_body(self) -> None:
        self.head(Content_Length=str(len(CONTENT)))
        while not Hostile.over.wait(0.05):
            self.wfile.write(b"x")

    def endless(self) -> None:
        self.head()
        while not Hostile.over.is_set():
            self.wfile.write(CONTENT)

    def endless_chunks(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.head(Transfer_Encoding="chunked")
        while not Hostile.over.is_set():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT))

    def too_long(self) -> None:
        self.head(Content_Length=str(1 << 60))

    def too_short(self) -> None:
        self.head(Content_Length=str(len(CONTENT)))
        self.wfile.write(CONTENT[:1000])

    def odd_length(self) -> None:
        self.head(Content_Length="-5e3")
        self.wfile.write(CONTENT)

    def to_file(self) -> None:
        self.head(302, Location="file:///etc/hostname")

    def to_nowhere(self) -> None:
        self.head(302, Location="http://[::1/x")

    def in_a_circle(self) -> None:
        self.head(302, Location="/in-a-circle")

    def page(self) -> None:
        self.head(Content_Type="application/octet-stream")
        self.wfile.write(b"\n  <!DOCTYPE html><html>please log in</html>")

    def empty(self) -> None:
        self.head(Content_Length="0")

    def no_content(self) -> None:
        self.head(204)

    def not_asked_part(self) -> None:
        self.head(206, Content_Range="bytes 100-199/1048576", Content_Length="100")
        self.wfile.write(CONTENT[100:200])

    def other_part(self) -> None:
        wanted = "Range" in self.headers
        self.head(206 if wanted else 200, **({"Content_Range": "bytes 0-1048575/1048576"} if wanted else {}))
        self.wfile.write(CONTENT)

    def not_gzip(self) -> None:
        self.head(Content_Encoding="gzip")
        self.wfile.write(CONTENT)

    def no_http(self) -> None:
        self.wfile.write(b"\xff\xfe" * 1000)

    def another(self) -> None:
        self.head(Content_Length="4")
        self.wfile.write(b"evil")

    def sound(self) -> None:
        self.head(ETag='"2"', Content_Length=str(len(CONTENT)))
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Hostile.over, Hostile.asked = threading.Event(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as running:
        running.daemon_threads = True
        running.block_on_close = False
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        Hostile.over.set()
        running.shutdown()
        thread.join()


def fetched(file: WeightFile, folder: Path) -> dict[str, Path]:
    card = BackboneCard(name="tiny", layers={"feature": 2}, layer="feature", input=InputRule(), weights=(file,))
    return fetch(card, cache=folder, patience_seconds=1.0)


TRICKS = {
    "silent": "its answer did not come within 1 seconds",
    "slow-head": "its answer did not come within 1 seconds",
    "slow-body": "256 KiB did not come within 1 seconds",
    "endless": "more than the 1048576 bytes of the file came, and were deleted",
    "endless-chunks": "more than the 1048576 bytes of the file came, and were deleted",
    "too-long": "the server offers 1152921504606846976 bytes, and the file has 1048576",
    "too-short": "1000",
    "to-file": "file:///etc/hostname",
    "to-nowhere": "",
    "in-a-circle": "redirects",
    "page": "a web page came instead of the file",
    "empty": "an empty file came",
    "no-content": "status 204",
    "not-asked-part": "a part of the file, and the whole was requested",
    "not-gzip": "gzip",
    "no-http": "",
    "another": "what came has SHA-256 .* and was deleted",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_every_trick_ends_in_one_sentence_and_no_file(trick: str, server: str, tmp_path: Path) -> None:
    file = WeightFile("net.bin", url=f"{server}/{trick}", size=len(CONTENT), sha256=DIGEST)

    with pytest.raises(WeightsError, match=rf"net\.bin could not be fetched \(http.*{TRICKS[trick]}.*by hand from"):
        fetched(file, tmp_path)

    left = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(left) <= {"net.bin.part", "net.bin.part.json"}
    assert left.get("net.bin.part", 0) <= len(CONTENT)


@pytest.mark.parametrize("trick", ["page", "empty", "too-long"])
def test_nothing_of_that_is_taken_where_no_hash_is_known(trick: str, server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"net\.bin could not be fetched"):
        fetched(WeightFile("net.bin", url=f"{server}/{trick}"), tmp_path)
    assert not (tmp_path / "net.bin").exists()
    assert not (tmp_path / PINS).exists()


@pytest.mark.parametrize("trick", ["odd-length", "sound"])
def test_a_length_that_is_no_number_is_passed_over(trick: str, server: str, tmp_path: Path) -> None:
    fetched(WeightFile("net.bin", url=f"{server}/{trick}", sha256=DIGEST), tmp_path)
    assert (tmp_path / "net.bin").read_bytes() == CONTENT


def left(folder: Path, content: bytes, *, url: str, version: str) -> None:
    with PartialFile(folder / "net.bin.part").open(url=url, version=version, append=False) as stream:
        stream.write(content)


def test_another_part_than_the_one_wanted_is_never_appended(server: str, tmp_path: Path) -> None:
    left(tmp_path, CONTENT[:1000], url=f"{server}/other-part", version='"1"')
    fetched(WeightFile("net.bin", url=f"{server}/other-part", sha256=DIGEST), tmp_path)
    assert (tmp_path / "net.bin").read_bytes() == CONTENT


def test_without_a_published_hash_another_version_is_never_continued(server: str, tmp_path: Path) -> None:
    url = f"{server}/sound"
    left(tmp_path, b"an older version", url=url, version='"1"')
    fetched(WeightFile("net.bin", url=url), tmp_path)
    assert (tmp_path / "net.bin").read_bytes() == CONTENT
    assert Hostile.asked[0]["if-range"] == '"1"'

    (tmp_path / "net.bin").unlink()
    left(tmp_path, b"from elsewhere", url="http://elsewhere", version='"1"')
    (tmp_path / PINS).unlink()
    fetched(WeightFile("net.bin", url=url), tmp_path)
    assert "range" not in Hostile.asked[-1]


def a_file(path: Path) -> None:
    path.write_bytes(b"mine")


def a_link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"mine")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("put", [a_file, a_link])
@pytest.mark.parametrize("name", ["net.bin.part", "net.bin.part.json"])
def test_a_file_of_the_users_at_a_temporary_name_is_left_alone(
    name: str, put: Callable[[Path], None], server: str, tmp_path: Path
) -> None:
    put(tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(OutputError, match=rf"{name} is in the way and is not a download of ours; move it"):
        fetched(WeightFile("net.bin", url=f"{server}/sound", sha256=DIGEST), tmp_path)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_link_planted_beside_our_note_is_not_followed(server: str, tmp_path: Path) -> None:
    left(tmp_path, b"", url="", version="")
    (tmp_path / "net.bin.part").unlink()
    a_link(tmp_path / "net.bin.part")
    with pytest.raises(OutputError, match=r"net\.bin\.part is in the way"):
        fetched(WeightFile("net.bin", url=f"{server}/sound", sha256=DIGEST), tmp_path)
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_a_folder_of_the_users_beside_a_hub_download_is_left_alone(server: str, tmp_path: Path) -> None:
    (tmp_path / ".hub" / "owner--name").mkdir(parents=True)
    (tmp_path / ".hub" / "owner--name" / "mine").write_bytes(b"mine")
    card = BackboneCard(
        name="tiny",
        layers={"feature": 2},
        layer="feature",
        input=InputRule(),
        weights=(WeightFile("net.bin", repository="owner/name", sha256=DIGEST),),
    )
    with pytest.raises(WeightsError, match=r"net\.bin could not be fetched \(hf:owner/name: "):
        fetch(card, cache=tmp_path, endpoint=f"{server}/no-http")
    assert (tmp_path / ".hub" / "owner--name" / "mine").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == [".hub"]


def test_a_disk_without_room_for_the_file_is_said_before_it_comes(server: str, tmp_path: Path) -> None:
    class Little:
        free = 1000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fewshot.embeddings.weights.resuming_download.shutil.disk_usage", lambda _: Little)
        with pytest.raises(OutputError, match=r"its disk has no room for 1048576 bytes more"):
            fetched(WeightFile("net.bin", url=f"{server}/sound", sha256=DIGEST), tmp_path)
    assert list(tmp_path.iterdir()) == []
