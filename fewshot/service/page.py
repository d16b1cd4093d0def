"""The page at ``/``: its files, served with a policy that lets nothing else in, and thumbnails of known images."""

from collections.abc import Mapping
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fewshot.detector.detector import Detector

# Scripts, styles and pictures of this server only; blob: shows the picture that was chosen before it is judged. No
# text of others becomes markup: the last rule makes browsers refuse every sink that would parse it.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_DOCUMENT = "page.html"


def routes(detector: Detector) -> list[Route]:
    """Return the routes of the page: ``/``, ``/static/...`` and ``/v1/thumbnails/{row}``.

    Args:
        detector: whose thumbnails are shown, as JPEG by the number of the known image.
    """
    written = _written()

    def document(request: Request) -> Response:
        return _file(_DOCUMENT, written)

    def static(request: Request) -> Response:
        name = request.path_params["name"]
        return _file(name, written) if name in written else _missing(f"the page has no file {name[:80]!r}")

    def thumbnail(request: Request) -> Response:
        row = request.path_params["row"]
        picture = detector.thumbnails.get(int(row)) if row.isascii() and row.isdigit() and len(row) < 10 else None
        if picture is None:
            return _missing(f"the detector {detector.name!r} keeps no picture of a known image {row[:80]!r}")
        return Response(picture, media_type="image/jpeg", headers=HEADERS)

    return [
        Route("/", document, include_in_schema=False),
        Route("/static/{name}", static, include_in_schema=False),
        Route("/v1/thumbnails/{row}", thumbnail),
    ]


def _written() -> Mapping[str, bytes]:
    """Return the page's files by their names."""
    folder = files("fewshot.service") / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.split(".")[-1] in _MEDIA_TYPES}


def _file(name: str, written: Mapping[str, bytes]) -> Response:
    return Response(written[name], media_type=_MEDIA_TYPES[name.split(".")[-1]], headers=HEADERS)


def _missing(detail: str) -> Response:
    """Return that there is no such thing, as RFC 9457 wants it said."""
    problem = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": detail}
    return JSONResponse(problem, status_code=404, media_type="application/problem+json", headers=HEADERS)
