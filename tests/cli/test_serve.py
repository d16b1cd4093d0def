"""``fewshot serve``: what is refused before anything is served."""

import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.cli.serve import _names
from fewshot.core.errors import OptionError
from fewshot.service.limits import Limits
from fewshot.service.server import bound_socket, url_of


def _refused(*arguments: str) -> str:
    result = CliRunner().invoke(group, ["serve", *arguments])
    assert result.exit_code == 1, result.output
    return result.stderr


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = _refused("any.detector", "--port", str(port))
    assert said == (
        f"fewshot: port {port} of 127.0.0.1 is in use by another program; end that one, or give another with --port\n"
    )


def test_a_host_that_is_not_of_this_machine_is_refused() -> None:
    assert "is no address of this machine" in _refused("any.detector", "--port", "0", "--host", "192.0.2.1")


def test_a_detector_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in _refused(str(tmp_path / "none.detector"), "--port", "0")


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.detector").write_bytes(b"no zip")
    assert "is not a detector that fewshot wrote" in _refused(str(tmp_path / "a.detector"), "--port", "0")


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("image_byte=5", "did you mean 'image_bytes'"),
        ("image_bytes", "give a whole number, for example image_bytes=33554432"),
        ("image_bytes=-1", "give a whole number"),
        ("requests=0", "give at least 1"),
    ],
)
def test_a_limit_that_there_is_not_is_refused(limit: str, words: str) -> None:
    assert words in _refused("any.detector", "--port", "0", "--limit", limit)


def test_limits_are_changed_by_name() -> None:
    assert Limits.of(["image_bytes=5", "queue_images=7"]) == Limits(image_bytes=5, queue_images=7)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fewshot.service.app", None)
    assert 'pip install "fewshot[serve]"' in _refused("any.detector")


def test_another_address_than_loopback_gets_a_warning_and_every_name(tmp_path: Path) -> None:
    said = _refused(str(tmp_path / "none.detector"), "--port", "0", "--host", "0.0.0.0")
    assert said.startswith(
        "warning: 0.0.0.0 is not loopback: whoever reaches it can use the service, without a login\n"
    )


@pytest.mark.parametrize(
    ("host", "further", "names"),
    [
        ("127.0.0.1", (), {"localhost", "127.0.0.1", "[::1]"}),
        ("localhost", (), {"localhost", "127.0.0.1", "[::1]"}),
        ("127.0.0.2", (), {"localhost", "127.0.0.1", "[::1]", "127.0.0.2"}),
        ("::1", ("detector.lan",), {"localhost", "127.0.0.1", "[::1]", "detector.lan"}),
        ("0.0.0.0", ("detector.lan",), {"localhost", "127.0.0.1", "[::1]", "0.0.0.0", "detector.lan"}),
    ],
)
def test_names_by_which_it_may_be_called(host: str, further: tuple[str, ...], names: set[str]) -> None:
    found = _names(host, further)
    assert found is not None
    assert set(found) == names


def test_a_free_port_is_found_and_named() -> None:
    with bound_socket("127.0.0.1", 0) as bound:
        assert url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}/"


def test_a_name_that_nothing_resolves_is_refused() -> None:
    with pytest.raises(OptionError, match="give another with --host"):
        bound_socket("no.such.host.invalid", 0)
