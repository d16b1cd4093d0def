"""Errors as ``application/problem+json`` (RFC 9457), those of the framework and of single images among them."""

import logging
import secrets
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from fewshot.core.control_characters import escape_control, json_text

MEDIA_TYPE = "application/problem+json"
LOG = logging.getLogger("fewshot.service")
_MOST_CHARACTERS = 500

BAD_REQUEST, UNKNOWN_HOST, OTHER_SITE = "bad-request", "unknown-host", "other-site"
NOT_FOUND, METHOD = "not-found", "method-not-allowed"
SLOW, LARGE, MEDIA, INVALID = "too-slow", "too-large", "unsupported-media-type", "invalid-request"
BUSY, HEADERS, FAILED, UNAVAILABLE = "too-many-requests", "headers-too-large", "failed", "unavailable"
_KINDS = {
    BAD_REQUEST: (400, "The request cannot be read"),
    UNKNOWN_HOST: (400, "The service does not go by this name"),
    OTHER_SITE: (403, "Pages of other sites may not send this"),
    NOT_FOUND: (404, "There is nothing here"),
    METHOD: (405, "This cannot be done here"),
    SLOW: (408, "The request did not arrive in time"),
    LARGE: (413, "The request is too large"),
    MEDIA: (415, "The body is of a type that is not taken"),
    INVALID: (422, "The request asks for what there is not"),
    BUSY: (429, "The service is busy"),
    HEADERS: (431, "The headers are too large"),
    FAILED: (500, "The service failed"),
    UNAVAILABLE: (503, "The service cannot answer now"),
}
_BY_STATUS = {status: kind for kind, (status, _) in _KINDS.items() if kind != UNKNOWN_HOST}
_IMAGE_STATUS = {"not-an-image": 415, "bomb": 413, "memory": 413}
_IMAGE_KINDS = ("not-an-image", "empty", "truncated", "damaged", "bomb", "memory", "mode", "timeout")


@dataclass
class Problem(Exception):
    """Why a request is not answered as it wished.

    Args:
        kind: one of the kinds above; it fixes the status and the title.
        detail: what was wanted, what was found, what to do next.
        retry_seconds: after which it may be sent again; 0 where that changes nothing.
    """

    kind: str
    detail: str
    retry_seconds: int = 0

    @property
    def status(self) -> int:
        """The status of the response."""
        return _KINDS[self.kind][0]

    def to_json(self) -> dict[str, Any]:
        """Return the members of RFC 9457."""
        return _members(self.kind, _KINDS[self.kind][1], self.status, self.detail)


def new_request_id() -> str:
    """Return a name for one request, by which its problem can be found in the log."""
    return secrets.token_hex(8)


def problem_body(problem: Problem, request_id: str) -> bytes:
    """Return the body of a response."""
    return json_text({**problem.to_json(), "request_id": request_id}).encode("ascii")


def problem_response(problem: Problem, request_id: str) -> Response:
    """Return the response of a problem."""
    headers = {"Retry-After": str(problem.retry_seconds)} if problem.retry_seconds else {}
    body = problem_body(problem, request_id)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def image_problem(failure: str, *, path: str, name: str) -> dict[str, Any]:
    """Return the problem of one image that cannot be judged.

    Args:
        failure: as ``Judged`` has it: a kind, a colon, and what was found.
        path: where the image lay; it is called by its ``name`` instead.
    """
    kind, _, found = failure.partition(": ")
    kind = kind if kind in _IMAGE_KINDS else "unusable"
    detail = "it takes too long to decode" if kind == "timeout" else (found or failure).replace(path, name)
    return _members(f"image-{kind}", "The image cannot be judged", _IMAGE_STATUS.get(kind, 422), detail)


def _members(kind: str, title: str, status: int, detail: str) -> dict[str, Any]:
    shown = escape_control(detail)[:_MOST_CHARACTERS]
    return {"type": f"urn:fewshot:problem:{kind}", "title": title, "status": status, "detail": shown}


def request_id_of(request: Request) -> str:
    """Return the name that the request was given when it came in."""
    return str(request.scope.get("state", {}).get("request_id") or new_request_id())


def answer_problems(app: FastAPI) -> None:
    """Have an application answer every error as a problem, but for faults of ours, see ``failure_problem``."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, request_id_of(request))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the framework raises: no such path, no such method."""
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, FAILED if error.status_code >= 500 else BAD_REQUEST)
    said = {
        NOT_FOUND: f"there is nothing at {request.url.path[:200]}; /openapi.json lists what there is",
        METHOD: f"{request.method[:20]} is not understood at {request.url.path[:200]}; /openapi.json says what is",
    }
    response = problem_response(Problem(kind, said.get(kind, str(error.detail))), request_id_of(request))
    response.headers.update(error.headers or {})
    return response


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[:3]
    said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
    return problem_response(Problem(INVALID, said), request_id_of(request))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    """Answer nobody: the client is gone."""
    return Response(status_code=400)


def failure_problem(request_id: str, error: Exception) -> Problem:
    """Return the problem of a fault of ours; what it is stands in the log only."""
    LOG.error("request %s failed", request_id, exc_info=error)
    return Problem(FAILED, "this is a fault of the service, not of the request; its log says more by the request_id")
