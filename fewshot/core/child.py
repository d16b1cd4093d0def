"""A fresh interpreter of ours at the other end of a socket.

Not a fork: no thread or CUDA state is copied, the user's script is not imported again, and nothing is loaded that its
function does not ask for. It ends by itself when this process dies, because its socket closes.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {} import {} as serve; serve({})"


class Child:
    """This process's end of a child that runs ``function`` of ``module`` with the number of its socket.

    Args:
        module, function: what it runs: ``function(descriptor: int) -> None``; see ``connected``.
    """

    def __init__(self, module: str, function: str) -> None:
        ours, theirs = socket.socketpair()
        code = _START.format(module, function, theirs.fileno())
        arguments = [sys.executable, "-c", code, json.dumps(sys.path)]
        self.process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self.socket = ours
        self.connection: Connection[Any, Any] = Connection(os.dup(ours.fileno()))

    @property
    def ending(self) -> str:
        """How the process ended, in words: a signal's name or an exit status."""
        code = self.process.returncode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"

    def limit_transfers(self, seconds: float) -> None:
        """Let a transfer that stalls half-way raise BlockingIOError after ``seconds``; the child may be stopped."""
        whole = int(seconds)
        limit = struct.pack("ll", whole, int((seconds - whole) * 1_000_000))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def send(self, message: Any) -> None:
        """Send a message; one that died meanwhile is noticed by whoever reads from it."""
        with suppress(OSError):
            self.connection.send(message)

    def kill(self) -> None:
        """End it at once, whatever it does, even when it is stopped."""
        self.process.kill()

    def close(self, *, grace_seconds: float = 1.0) -> None:
        """Close the socket, which ends the child; kill it when it has not ended after ``grace_seconds``."""
        self.connection.close()
        self.socket.close()
        try:
            self.process.wait(timeout=grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def connected(descriptor: int) -> "tuple[socket.socket, Connection[Any, Any]]":
    """Return the child's end of its socket, raw and for messages; Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it goes to the whole group; the parent ends us by closing
    return socket.socket(fileno=descriptor), Connection(os.dup(descriptor))
