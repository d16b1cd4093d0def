"""Fetching from a server on this machine: whole, resumed, mirrored, damaged, and from a hub."""

import hashlib
import os
import threading
from collections.abc import Iterator
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
COMMIT = "0" * 40


class Handler(BaseHTTPRequestHandler):
    """Serves one file, in parts on request; ``/breaks`` closes the connection half-way the first time."""

    asked: ClassVar[list[tuple[str, str]]] = []
    broken: ClassVar[bool] = False

    def do_HEAD(self) -> None:
        self._answer(CONTENT, body=False)

    def do_GET(self) -> None:
        Handler.asked.append((self.path, self.headers.get("Range", "")))
        if self.path.startswith("/missing"):
            self.send_error(404)
        elif self.path.startswith("/whole"):
            self._headers(200, len(CONTENT))
            self.wfile.write(CONTENT)
        elif self.path.startswith("/other"):
            self._answer(b"not the file", body=True)
        elif self.path.startswith("/breaks") and not Handler.broken:
            Handler.broken = True
            self._headers(200, len(CONTENT))
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            self.close_connection = True
        else:
            self._answer(CONTENT, body=True)

    def _answer(self, content: bytes, *, body: bool) -> None:
        first = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0]) if "Range" in self.headers else 0
        if first >= len(content):
            self.send_error(416)
            return
        self._headers(206 if first else 200, len(content) - first)
        if body:
            self.wfile.write(content[first:])

    def _headers(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", f'"{DIGEST}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked, Handler.broken = [], False
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def leave_partial(folder: Path, content: bytes, *, url: str = "", version: str = "") -> None:
    with PartialFile(folder / "net.bin.part").open(url=url, version=version, append=False) as stream:
        stream.write(content)


def card(file: WeightFile) -> BackboneCard:
    return BackboneCard(name="tiny", layers={"feature": 2}, layer="feature", input=InputRule(), weights=(file,))


def test_a_file_is_fetched_once_and_pinned(server: str, tmp_path: Path) -> None:
    file = WeightFile("net.bin", url=f"{server}/net.bin")

    first = fetch(card(file), cache=tmp_path)
    second = fetch(card(file), cache=tmp_path)

    assert first == second == {"net": tmp_path / "net.bin"}
    assert (tmp_path / "net.bin").read_bytes() == CONTENT
    assert len(Handler.asked) == 1
    assert DIGEST in (tmp_path / PINS).read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"net.bin", PINS}


def test_a_broken_download_resumes_where_it_stopped(server: str, tmp_path: Path) -> None:
    file = WeightFile("net.bin", url=f"{server}/breaks", sha256=DIGEST)

    with pytest.raises(WeightsError, match=r"net\.bin could not be fetched .*run the same command again to resume it"):
        fetch(card(file), cache=tmp_path)
    assert (tmp_path / "net.bin.part").stat().st_size == len(CONTENT) // 2
    assert not (tmp_path / "net.bin").exists()

    fetch(card(file), cache=tmp_path)

    assert (tmp_path / "net.bin").read_bytes() == CONTENT
    assert Handler.asked[-1] == ("/breaks", f"bytes={len(CONTENT) // 2}-")


def test_a_file_has_its_name_only_after_its_hash_was_checked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = WeightFile("net.bin", url=f"{server}/net.bin", sha256=DIGEST)
    hashed: list[tuple[str, bool]] = []

    def noted(path: Path) -> str:
        hashed.append((path.name, (tmp_path / "net.bin").exists()))
        return DIGEST

    monkeypatch.setattr("fewshot.embeddings.weights.download.file_sha256", noted)

    fetch(card(file), cache=tmp_path)

    assert hashed == [("net.bin.part", False)]


def test_what_is_not_the_beginning_of_the_file_is_fetched_again(server: str, tmp_path: Path) -> None:
    file = WeightFile("net.bin", url=f"{server}/net.bin", sha256=DIGEST)
    leave_partial(tmp_path, b"x" * (len(CONTENT) + 5))

    fetch(card(file), cache=tmp_path)

    assert (tmp_path / "net.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in Handler.asked] == [f"bytes={len(CONTENT) + 5}-", ""]
    assert {path.name for path in tmp_path.iterdir()} == {"net.bin"}


def test_a_server_that_knows_no_ranges_gives_the_whole_file_again(server: str, tmp_path: Path) -> None:
    file = WeightFile("net.bin", url=f"{server}/whole", sha256=DIGEST)
    leave_partial(tmp_path, CONTENT[:1000])

    fetch(card(file), cache=tmp_path)

    assert (tmp_path / "net.bin").read_bytes() == CONTENT


def test_a_full_disk_is_an_output_error_and_no_fault_of_the_server(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = WeightFile("net.bin", url=f"{server}/net.bin", sha256=DIGEST)
    monkeypatch.setattr(PartialFile, "open", lambda *_, **__: Path("/dev/full").open("wb"))  # noqa: SIM115

    with pytest.raises(OutputError, match=r"net\.bin\.part cannot be written: no space is left on its disk"):
        fetch(card(file), cache=tmp_path)


@pytest.mark.parametrize("kind", ["link", "link to nothing", "second name", "folder", "pipe"])
def test_a_partial_download_that_is_no_file_of_its_own_is_not_written_to(
    server: str, tmp_path: Path, kind: str
) -> None:
    part, victim = tmp_path / "net.bin.part", tmp_path / "victim"
    if kind != "link to nothing":
        victim.write_text("precious")
    if kind == "second name":
        os.link(victim, part)
    elif kind == "folder":
        part.mkdir()
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.symlink_to(victim)

    with pytest.raises(OutputError, match=r"net\.bin\.part is in the way and is not a download of ours"):
        fetch(card(WeightFile("net.bin", url=f"{server}/net.bin", sha256=DIGEST)), cache=tmp_path)

    assert victim.exists() == (kind != "link to nothing")
    assert not victim.exists() or victim.read_text() == "precious"


def test_a_mirror_is_asked_when_the_official_address_fails(server: str, tmp_path: Path) -> None:
    file = WeightFile("net.bin", url=f"{server}/missing", mirrors=(f"{server}/mirror",), sha256=DIGEST)

    fetch(card(file), cache=tmp_path)

    assert [path for path, _ in Handler.asked] == ["/missing", "/mirror"]
    assert (tmp_path / "net.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "known", [{"sha256": DIGEST}, {"sha256": DIGEST[:12]}, {"md5": hashlib.md5(CONTENT).hexdigest()}]
)
def test_another_file_than_the_published_one_is_refused_and_not_kept(
    known: dict[str, str], server: str, tmp_path: Path
) -> None:
    file = WeightFile("net.bin", url=f"{server}/other", **known)  # type: ignore[arg-type]  # two text fields

    with pytest.raises(WeightsError, match=r"net\.bin could not be .*what came has .* published is .* was deleted"):
        fetch(card(file), cache=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_hub_repository_is_fetched_through_its_own_client(server: str, tmp_path: Path) -> None:
    file = WeightFile("net.bin", repository="owner/name", hub_file="folder/model.bin", sha256=DIGEST)

    fetch(card(file), cache=tmp_path, endpoint=server)

    assert (tmp_path / "net.bin").read_bytes() == CONTENT
    assert Handler.asked[-1][0] == "/owner/name/resolve/main/folder/model.bin"
    assert not (tmp_path / ".hub").exists()


def test_offline_fetches_nothing_and_says_what_is_missing(server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"--offline fetches nothing; run `fewshot weights fetch tiny` where there"):
        fetch(card(WeightFile("net.bin", url=f"{server}/net.bin")), cache=tmp_path, offline=True)

    assert not Handler.asked


def test_a_file_behind_a_form_is_refused_with_the_steps(tmp_path: Path) -> None:
    file = WeightFile("net.bin", manual="ask the authors by the form on their page")

    with pytest.raises(
        WeightsError, match=r"ask the authors by the form .*put it into .* as net\.bin, or give --weights"
    ):
        fetch(card(file), cache=tmp_path)


def test_the_licence_is_said_before_a_restricted_file_is_fetched(server: str, tmp_path: Path) -> None:
    said: list[str] = []
    file = WeightFile("net.bin", url=f"{server}/net.bin", licence="CC BY-NC", non_commercial=True)

    fetch(card(file), cache=tmp_path, say=said.append)

    assert said == ["net.bin: for non-commercial use only (CC BY-NC)"]


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = WeightFile("net.bin", url="http://127.0.0.1:9/net.bin")

    with pytest.raises(WeightsError, match=r"could not be fetched \(http://127\.0\.0\.1:9/net\.bin: .*by hand from"):
        fetch(card(file), cache=tmp_path)
