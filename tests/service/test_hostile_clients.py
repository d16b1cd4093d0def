"""Clients that stall, leave, or send what is meant to hurt: the others go on being served. A real server each time."""

import io
import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.service.conftest import png
from tests.service.running import MULTIPART, Running, closed, head_of, multipart, read_answer

pytestmark = pytest.mark.slow  # a server of its own, and deadlines that have to pass

LIMITS = {"receive_seconds": 2, "requests": 8, "request_images": 8, "image_bytes": 1_000_000, "connections": 40}
OPTIONS = [part for name, value in LIMITS.items() for part in ("--limit", f"{name}={value}")]


@pytest.fixture(scope="module")
def server(detector_file: Path) -> Iterator[Running]:
    with Running(detector_file, *OPTIONS) as server:
        yield server


@pytest.fixture(autouse=True)
def others_are_served(server: Running) -> Iterator[None]:
    """Every test here ends with somebody else's request, which is answered."""
    yield
    answer = server.predict(png(1), png(2, synthetic=True))
    assert answer.status == 200
    assert all("verdict" in result for result in answer.json["results"])


def test_a_half_sent_body_is_given_up_and_told_so(server: Running) -> None:
    with server.connect() as slow:
        slow.sendall(head_of(5000) + b"\x89PNG")
        assert server.predict(png(3)).status == 200  # meanwhile
        answer = read_answer(slow)
        assert (answer.status, answer.headers["content-type"]) == (408, "application/problem+json")
        assert answer.json["type"] == "urn:fewshot:problem:too-slow"
        assert closed(slow)


def test_a_body_that_trickles_is_given_up_all_the_same(server: Running) -> None:
    with server.connect() as slow:
        slow.sendall(head_of(500_000))
        slow.settimeout(0.2)
        received = b""
        while not received:
            try:
                slow.sendall(b"x")
                received = slow.recv(1 << 16)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408 ")


def test_half_sent_headers_are_given_up_and_told_so(server: Running) -> None:
    with server.connect() as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: local")
        assert read_answer(slow).status == 408
        assert closed(slow)


def test_a_connection_that_says_nothing_is_closed(server: Running) -> None:
    with server.connect() as silent:
        assert closed(silent)


def test_a_body_that_nobody_reads_does_not_hold_its_connection(server: Running) -> None:
    with server.connect() as slow:
        slow.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        assert read_answer(slow).status == 404
        assert closed(slow)


def test_clients_that_leave_half_way_leave_no_request_behind(server: Running) -> None:
    for _ in range(10):
        with server.connect() as leaving:
            leaving.sendall(head_of(5000) + b"\x89PNG")
    for _ in range(10):
        with server.connect() as leaving:
            leaving.sendall(head_of(len(png(4))) + png(4))
    while "fewshot_requests_under_way 0.0" not in server.request("GET", "/metrics").body.decode():
        pass
    text = server.request("GET", "/metrics").body.decode()
    assert "fewshot_queue_images 0.0" in text
    assert "fewshot_spool_bytes 0.0" in text


def test_headers_of_ten_megabytes_are_refused(server: Running) -> None:
    with server.connect() as large:
        answer = _sent(large, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 10_000_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "request_line", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n"]
)
def test_what_is_no_http_is_refused_as_a_problem(server: Running, request_line: bytes) -> None:
    with server.connect() as connection:
        answer = _sent(connection, request_line)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_a_thousand_parts_are_refused(server: Running) -> None:
    body = multipart([(f"{number}", b"x") for number in range(1000)])
    answer = server.request("POST", "/v1/predict", body, Content_Type=MULTIPART)
    assert (answer.status, answer.json["type"]) == (413, "urn:fewshot:problem:too-large")


def test_a_part_with_a_thousand_headers_is_refused(server: Running) -> None:
    body = b"--b\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(1000)) + b"\r\nx\r\n--b--\r\n"
    answer = server.request("POST", "/v1/predict", body, Content_Type="multipart/form-data; boundary=b")
    assert (answer.status, answer.json["type"]) == (400, "urn:fewshot:problem:bad-request")


def test_a_body_that_says_it_is_huge_is_refused_before_it_is_sent(server: Running) -> None:
    with server.connect() as large:
        large.sendall(head_of(10**12))
        assert read_answer(large).status == 413


def test_bombs_are_refused_and_judged_images_beside_them_are_not(server: Running) -> None:
    pixels = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(pixels, "PNG")
    text = png(5)[:33] + _chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"\0" * 50_000_000)) + png(5)[33:]
    answer = server.predict(pixels.getvalue(), png(6), text)
    assert answer.status == 200
    bomb, good, _ = answer.json["results"]
    assert bomb["problem"]["type"] == "urn:fewshot:problem:image-bomb"
    assert "verdict" in good


def test_one_connection_too_many_is_told_so_and_the_rest_stay(server: Running) -> None:
    held = [server.connect() for _ in range(LIMITS["connections"])]
    try:
        with server.connect() as more:
            answer = read_answer(more)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert answer.json["type"] == "urn:fewshot:problem:unavailable"
        held[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(held[0]).status == 200
    finally:
        for connection in held:
            connection.close()


def test_more_requests_than_are_taken_are_told_to_come_back_and_then_are_answered(server: Running) -> None:
    held = [server.connect() for _ in range(LIMITS["requests"])]
    try:
        for connection in held:
            connection.sendall(head_of(5000) + b"\x89PNG")
        while "fewshot_requests_under_way 8.0" not in server.request("GET", "/metrics").body.decode():
            pass
        refused = server.predict(png(7))
        assert (refused.status, refused.headers["retry-after"]) == (429, "5")
        assert refused.json["type"] == "urn:fewshot:problem:too-many-requests"
        assert [read_answer(connection).status for connection in held] == [408] * len(held)
    finally:
        for connection in held:
            connection.close()
    assert server.predict(png(7)).status == 200


def test_a_client_that_does_not_read_its_answer_is_dropped(server: Running) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(60)
        deaf.connect((server.host, server.port))
        requests = b"GET /v1/detector HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
        with pytest.raises(ConnectionError):  # it is cut off while it still asks for more
            _send_for_ever(deaf, requests)


def _send_for_ever(connection: socket.socket, requests: bytes) -> None:
    while True:
        connection.sendall(requests)


def _sent(connection: socket.socket, request: bytes) -> bytes:
    """Return what comes back, whether or not all of the request was taken."""
    answer = b""
    with suppress(OSError):
        connection.sendall(request)
    with suppress(OSError):
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
