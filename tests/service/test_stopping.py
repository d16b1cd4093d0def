"""How a service ends: running requests are answered, nothing is left, and nobody can hold it."""

import signal
import socket
from pathlib import Path

import pytest

from tests.service.conftest import png
from tests.service.running import Running, head_of, read_answer

pytestmark = pytest.mark.slow  # each starts a server of its own


def _half_sent(server: Running, image: bytes) -> socket.socket:
    connection = server.connect()
    connection.sendall(head_of(len(image)) + image[:100])
    while "fewshot_requests_under_way 1.0" not in server.request("GET", "/metrics").body.decode():
        pass
    return connection


def test_a_running_request_is_answered_and_further_ones_are_not_taken(detector_file: Path, tmp_path: Path) -> None:
    image = png(1)
    with Running(detector_file, temporary=tmp_path) as server, _half_sent(server, image) as running:
        server.process.send_signal(signal.SIGTERM)
        while server.request("GET", "/readyz").status != 503:
            pass
        assert server.request("GET", "/healthz").status == 200
        assert server.predict(image).status == 503
        running.sendall(image[100:])
        answer = read_answer(running)
        assert answer.status == 200
        assert "verdict" in answer.json["results"][0]
        assert server.ended(None) == (0, "")
    assert not list(tmp_path.iterdir())


def test_a_second_signal_ends_it_at_once_and_says_what_was_cut_off(detector_file: Path, tmp_path: Path) -> None:
    with Running(detector_file, temporary=tmp_path) as server, _half_sent(server, png(1)) as running:
        server.process.send_signal(signal.SIGTERM)
        while server.request("GET", "/readyz").status != 503:
            pass
        status, said = server.ended(signal.SIGTERM)
        answer = read_answer(running)
        assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
    assert status == 1
    assert "1 requests were cut off" in said
    assert not list(tmp_path.iterdir())


def test_the_bound_ends_it_too(detector_file: Path, tmp_path: Path) -> None:
    options = ("--limit", "stop_seconds=1")
    with Running(detector_file, *options, temporary=tmp_path) as server, _half_sent(server, png(1)):
        status, said = server.ended()
    assert (status, "stop_seconds" in said) == (1, True)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_a_service_without_requests_with_status_0(detector_file: Path) -> None:
    with Running(detector_file) as server:
        assert server.ended(signal.SIGINT) == (0, "")
