"""What surrounds every request: a name for it, the check of its Host, headers of its answer, its place in metrics."""

import asyncio
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fewshot.core.control_characters import escape_control
from fewshot.service.metrics import Metrics
from fewshot.service.problems import (
    OTHER_SITE,
    UNAVAILABLE,
    UNKNOWN_HOST,
    Problem,
    failure_problem,
    new_request_id,
    problem_response,
)

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware.

    A page of another site that sends something here is refused: it could not read the answer, but cost computing, and
    a line in the log. Browsers say so by ``Sec-Fetch-Site``; programs send no such header.

    Args:
        hosts: names by which the service may be called, without port; None lets every name in. A page of another
            origin that had its own name resolved to this machine calls it by that name (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, hosts: Sequence[str] | None) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with what it needs."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**_HEADERS, "X-Request-Id": request_id}.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._answer(scope, receive, send_with_headers, request_id)
        except asyncio.CancelledError:  # the server ends, and waits no longer
            if not status:
                problem = Problem(UNAVAILABLE, "the service was stopped before the answer was there", 5)
                await problem_response(problem, request_id)(scope, receive, send_with_headers)
        except Exception as error:
            if status:
                raise
            await problem_response(failure_problem(request_id, error), request_id)(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status or 500)).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            names = ", ".join(sorted(self._hosts))
            detail = f"it was called by {escape_control(host[:100])!r} and goes by {names}; --allow-host adds a name"
            await problem_response(Problem(UNKNOWN_HOST, detail), request_id)(scope, receive, send)
            return
        if scope["method"] == "POST" and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            detail = "a page of another site sent this; open the page of this service, or send it by a program"
            await problem_response(Problem(OTHER_SITE, detail), request_id)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """Return the name of a Host header without its port.

    >>> _name("LOCALHOST:8000"), _name("[::1]:8000"), _name("[::1]")
    ('localhost', '[::1]', '[::1]')
    """
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.lower()
