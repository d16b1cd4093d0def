"""Serve an application on a port until a signal ends it: what runs is finished, within a bound."""

import asyncio
import errno
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from fewshot.core.errors import OptionError
from fewshot.service.limits import Limits
from fewshot.service.protocol import bounded_by
from fewshot.service.service import Service

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_KEEP_ALIVE_SECONDS = 10
_CLOSE_SECONDS = 2  # for what is no request with images
_BACKLOG = 256


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that has the address; it does not listen yet.

    Args:
        host: a name or address of this machine; port: 0 takes any that is free.

    Raises:
        OptionError: another program has the port, it may not be taken, or the host is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except (OSError, UnicodeError) as error:
        raise OptionError(_refused(host, port, error)) from error
    return bound


def _refused(host: str, port: int, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program; end that one, or give another with --port"
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} may not be taken by this user; give one of 1024 or more with --port"
    why = getattr(error, "strerror", None) or str(error)
    return f"{host} is no address of this machine that can be listened at ({why}); give another with --host"


def url_of(bound: socket.socket) -> str:
    """Return where a bound socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(app: FastAPI, bound: socket.socket, *, started: Callable[[], None]) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP, and return how many requests were cut off.

    The first signal has running requests end, of which none is taken any more; a second one, or the time of the limit
    ``stop_seconds``, cuts them off.

    Args:
        app: of ``create_app``; bound: of ``bound_socket``.
        started: called once requests are taken.
    """
    service: Service = app.state.service
    server = _Server(_config(app, service.limits), service, started)
    server.run(sockets=[bound])
    return server.cut_off


def _config(app: FastAPI, limits: Limits) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients do wrong is told to them
    return uvicorn.Config(
        app,
        http=bounded_by(limits),
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
        h11_max_incomplete_event_size=limits.header_bytes,
    )


class _Server(uvicorn.Server):
    """Uvicorn's server with our end: first no request is taken, then what runs ends, then connections are closed."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._told = started
        self._stop_at: float | None = None
        self.cut_off = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell once the networks are ready."""
        await super().startup(sockets)
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        ready = await asyncio.to_thread(self._service.judge.ready.wait, 60.0)
        if ready and not self._service.stopping:
            self._told()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals that end the server; unlike uvicorn, do not raise them again afterwards."""
        taken = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; stop at once at the second time."""
        if self._stop_at is not None:
            self._stop_at = 0.0
        else:
            self._stop_at = time.monotonic() + self._service.limits.stop_seconds
            self._service.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether connections are to be closed now."""
        ends = await super().on_tick(counter)
        if self._stop_at is None:
            return ends
        under_way = self._service.spool.requests
        if under_way and time.monotonic() < self._stop_at:
            return ends
        self.cut_off = under_way
        return True
