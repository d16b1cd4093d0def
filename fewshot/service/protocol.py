"""HTTP/1.1 of uvicorn with bounds of its own: on connections, on the time of receiving and sending; errors as problems.

Uvicorn sets no time for a request to arrive in: half a header, or half a body, holds its connection for ever.
"""

import asyncio
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fewshot.service.limits import Limits
from fewshot.service.problems import (
    BAD_REQUEST,
    HEADERS,
    MEDIA_TYPE,
    SLOW,
    UNAVAILABLE,
    Problem,
    new_request_id,
    problem_body,
)

_GRACE_SECONDS = 2.0  # the application's own deadline comes first, and answers
_LINGER_SECONDS = 2.0  # so that who still sends can read why it is not taken
_TOO_LARGE = 431


class BoundedProtocol(H11Protocol):
    """One connection."""

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        """Begin; one connection too many is told so, and closed."""
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._lingering = False
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(Problem(UNAVAILABLE, "too many connections are open", 5))
        else:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and with it all timers."""
        for timer in (self._receiving, self._sending):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first of a request start its time."""
        if self._lingering:
            return
        self._expect_request()
        super().data_received(data)

    def handle_events(self) -> None:
        """Act on what was received; the end of a request stops its time."""
        super().handle_events()
        if self._receiving is not None and self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            self._receiving.cancel()
            self._receiving = None
        elif self.conn.their_state is h11.SEND_BODY:  # of a request that came along with the one before it
            self._expect_request()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; called while the error of the parser is handled."""
        error = sys.exception()
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == _TOO_LARGE:
            self._refuse(Problem(HEADERS, f"line and headers have more than {self.limits.header_bytes:,} bytes"))
        else:
            self._refuse(Problem(BAD_REQUEST, "this is not HTTP/1.1 as RFC 9112 has it"))

    def pause_writing(self) -> None:
        """Start the time in which a client has to take what is sent to it."""
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(self.limits.receive_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop it."""
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _expect_request(self) -> None:
        if self._receiving is None:
            seconds = self.limits.receive_seconds + _GRACE_SECONDS
            self._receiving = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        """End a connection whose request did not arrive in time."""
        self._receiving = None
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(Problem(SLOW, f"the request did not arrive within {self.limits.receive_seconds} s"))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Send a problem where no response has begun, say that nothing more comes, and close soon after."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or self.transport.is_closing():
            self.transport.close()
            return
        self._lingering = True
        body = problem_body(problem, new_request_id())
        headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(body))), ("connection", "close")]
        if problem.retry_seconds:
            headers.append(("retry-after", str(problem.retry_seconds)))
        for event in (
            h11.Response(status_code=problem.status, headers=headers, reason=HTTPStatus(problem.status).phrase),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def bounded_by(limits: Limits) -> type[BoundedProtocol]:
    """Return the protocol with some limits, as uvicorn takes it."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})
