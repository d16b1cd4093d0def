"""A service in a process of its own, on a free port, and clients that speak raw bytes to it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

BOUNDARY = "b0und4ry"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
PATIENCE_SECONDS = 60


class Running:
    """``fewshot serve`` with some options; a context manager that ends it."""

    def __init__(self, detector: Path, *options: str, temporary: Path | None = None) -> None:
        command = [sys.executable, "-m", "fewshot", "serve", str(detector), "--port", "0", "--json", *options]
        environment = {**os.environ, **({"TMPDIR": str(temporary)} if temporary else {})}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        address = urlsplit(json.loads(line)["url"])
        assert address.hostname
        assert address.port
        self.host, self.port = address.hostname, address.port
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ended(self, number: int | None = signal.SIGTERM) -> tuple[int, str]:
        """Return exit status and stderr of the process, after a signal."""
        if number is not None:
            self.process.send_signal(number)
        said = self.process.communicate(timeout=PATIENCE_SECONDS)[1]
        return self.process.returncode, said

    def connect(self) -> socket.socket:
        """Return a connection for raw bytes."""
        return socket.create_connection((self.host, self.port), timeout=PATIENCE_SECONDS)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> "Answer":
        """Return what is answered to one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            found = connection.getresponse()
            return Answer(found.status, dict(found.getheaders()), found.read())
        finally:
            connection.close()

    def predict(self, *images: bytes, path: str = "/v1/predict") -> "Answer":
        """Return what is answered to some images as multipart."""
        body = multipart([(f"{number}.png", image) for number, image in enumerate(images)])
        return self.request("POST", path, body, Content_Type=MULTIPART)


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def multipart(parts: Sequence[tuple[str, bytes]], *, field: str = "images") -> bytes:
    """Return a multipart body of some files."""
    written = b""
    for name, content in parts:
        disposition = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'
        written += f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode("utf-8", "surrogateescape") + content + b"\r\n"
    return written + f"--{BOUNDARY}--\r\n".encode()


def head_of(body_bytes: int, *, content_type: str = "image/png") -> bytes:
    """Return the head of a request with images whose body has so many bytes."""
    return (
        f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {body_bytes}\r\n\r\n"
    ).encode()


def read_answer(connection: socket.socket) -> Answer:
    """Return the answer on a connection for raw bytes."""
    found = http.client.HTTPResponse(connection)
    found.begin()
    return Answer(found.status, dict(found.getheaders()), found.read())


def closed(connection: socket.socket) -> bool:
    """Wait until the other side says no more, and return whether it closed the connection."""
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
