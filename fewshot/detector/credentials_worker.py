"""The process that reads content credentials: file by file, within a limit on memory, silent on the terminal."""

import json
import os
import resource
from typing import Any

from fewshot.core.child import connected
from fewshot.core.regular_files import read_regular
from fewshot.detector.content_credentials import content_credentials, offline_context
from fewshot.detector.file_claims import file_claims, short_text

FILE_BYTES = 256 << 20


def serve(descriptor: int) -> None:
    """Answer the paths that come until the other side closes: first the metadata, then the credentials, as JSON."""
    _, connection = connected(descriptor)
    try:
        start = json.loads(connection.recv_bytes())
        context = offline_context(start["anchors"])
        _limit(start["memory_bytes"])
        _be_silent()
        connection.send_bytes(b"{}")
        while True:
            _answer(connection, json.loads(connection.recv_bytes())["path"], context, bool(start["anchors"]))
    except (EOFError, ConnectionError):
        return


def _answer(connection: Any, path: str, context: Any, with_trust_list: bool) -> None:
    try:
        encoded = read_regular(path, limit=FILE_BYTES)
    except OSError as error:
        _send(connection, {"unreadable": f"unreadable: {short_text(error.strerror or error)}"})
        _send(connection, {"state": "unreadable", "sentence": f"unreadable: {short_text(error.strerror or error)}"})
        return
    _send(connection, file_claims(encoded))  # before the native library, which may take this process with it
    _send(connection, content_credentials(encoded, context, with_trust_list=with_trust_list))


def _send(connection: Any, answer: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(answer).encode())


def _limit(memory_bytes: int) -> None:
    """Let an allocation beyond the limit fail, and a crash leave no core file."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _be_silent() -> None:
    """Let what the native library prints of a file, a panic for example, go nowhere: others wrote that text."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
