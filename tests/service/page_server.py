"""The page of a detector behind a real server, with answers of a real scorer; and images made on the spot."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import fewshot
from fewshot.detector.detector import Detector
from fewshot.detector.scorer import Scorer
from fewshot.detector.stability import DEFAULT
from fewshot.detector.summary import to_json
from fewshot.service.page import routes

SIDE = 96


def photograph(seed: int, *, checkerboard: float = 0.0) -> Image.Image:
    """An image of clouds in two colours, as large as SIDE; a checkerboard is what its synthetic likes carry."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(SIDE, SIDE))
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    clouds = np.real(np.fft.ifft2(np.fft.fft2(noise) / np.maximum(frequencies, 1 / SIDE) ** 1.2))
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    rows, columns = np.indices((SIDE, SIDE))
    clouds += checkerboard * np.where((rows + columns) % 2, 0.5, -0.5) + rng.normal(scale=0.01, size=clouds.shape)
    low, high = rng.uniform(0, 120, 3), rng.uniform(130, 255, 3)
    return Image.fromarray(np.clip(low + (high - low) * clouds[..., None], 0, 255).astype(np.uint8))


def write_images(folder: Path, name: str, seeds: range, *, checkerboard: float = 0.0) -> None:
    """Write as many images of one source as there are seeds."""
    (folder / name).mkdir(parents=True)
    for seed in seeds:
        photograph(seed, checkerboard=checkerboard).save(folder / name / f"{name}-{seed}.png")


def fitted(folder: Path) -> Detector:
    """Fit a detector of the backbone ``spectrum`` on images made on the spot, with thumbnails, and load its file."""
    write_images(folder / "support" / "natural", "clouds", range(10))
    write_images(folder / "support" / "synthetic", "board", range(100, 110), checkerboard=0.08)
    write_images(folder / "naturals", "more", range(200, 230))
    target = folder / "made.detector"
    fewshot.fit(
        folder / "support",
        backbones="spectrum",
        naturals=folder / "naturals",
        max_false_alarms=0.10,
        out=target,
        thumbnails=True,
        quiet=True,
    )
    return Detector.load(target)


class Answers:
    """The application of a page in tests: its routes, ``/v1/detector``, and ``/v1/predict`` by a scorer.

    Attributes:
        lacking: query parameters that this server does not offer.
        first: responses that are given before the scorer is asked.
        queries: what was asked for beside the images.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._scorers = ExitStack()
        self._by_views: dict[tuple[str, ...], Scorer] = {}
        self.reset()

    def reset(self) -> None:
        """Offer everything again, and forget what was asked."""
        self.lacking: tuple[str, ...] = ()
        self.first: list[Response] = []
        self.queries: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._scorers.close()

    @property
    def app(self) -> Starlette:
        """The application."""
        known = Route("/v1/detector", self._describe)
        return Starlette(routes=[*routes(self.detector), known, Route("/v1/predict", self._predict, methods=["POST"])])

    def _describe(self, request: Request) -> Response:
        scores = self.detector.calibration_scores.tolist()
        return JSONResponse(
            {**to_json(self.detector), "calibration_scores": scores, "limits": {"image_bytes": 1 << 20}}
        )

    async def _predict(self, request: Request) -> Response:
        self.queries.append(dict(request.query_params))
        if self.first:
            return self.first.pop(0)
        for name in self.lacking:
            if name in request.query_params:
                return problem(422, f"{name} needs an extra that is not installed")
        async with request.form() as form:
            uploads = [each for each in form.getlist("images") if isinstance(each, UploadFile)]
            received = [(each.filename or "", await each.read()) for each in uploads]
        found = [self._judged(name, content, dict(request.query_params)) for name, content in received]
        return JSONResponse(
            {"detector": {"name": self.detector.name, "digest": self.detector.digest}, "results": found}
        )

    def _judged(self, name: str, content: bytes, query: dict[str, str]) -> dict[str, Any]:
        views = DEFAULT if query.get("stability") == "true" else ()
        if views not in self._by_views:
            self._by_views[views] = self._scorers.enter_context(Scorer(self.detector, workers=0, views=views))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image"
            path.write_bytes(content)
            (judged,) = self._by_views[views].files([path])
        if judged.judgement is None:
            detail = judged.failure.replace(str(path), name)
            return {
                "image": name,
                "problem": {"type": "about:blank", "title": "No image", "status": 415, "detail": detail},
            }
        provenance = {"provenance": PROVENANCE} if query.get("provenance") == "true" else {}
        return {"image": name, **judged.judgement.to_json(), **provenance}


PROVENANCE = {
    "sentences": ["Content credentials: none.", "PNG text 'parameters' says of itself: <img src=x onerror=alert(1)>"],
    "absence": "Absence proves nothing.",
}


def problem(status: int, detail: str, **headers: str) -> Response:
    """A response as RFC 9457 has it."""
    content = {"type": "about:blank", "title": "A problem", "status": status, "detail": detail}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(content, status_code=status, media_type="application/problem+json", headers=named)


@contextmanager
def served(app: Any, *, port: int = 0) -> Iterator[str]:
    """Serve an application on this machine, on a free port by default; give its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, ws="none", log_level="error", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    try:
        (port,) = (each.getsockname()[1] for each in server.servers[0].sockets)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()
