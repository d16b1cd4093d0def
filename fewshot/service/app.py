"""``create_app``: a detector as an ASGI application, for any server that takes one.

``POST /v1/predict`` takes images, as multipart (field ``images``, several) or as one raw body of type ``image/*``, and
answers 200 with, in the order of the images,

    {"detector": {"name", "digest"},
     "results": [{"image": NAME, "sha256": HEX, ...Judgement.to_json(), "provenance": {...} where it was asked for},
                 {"image": NAME, "problem": {"type", "title", "status", "detail"}}, ...]}

The query takes ``stability=true`` and ``provenance=true`` and nothing else. A raw body that cannot be judged is
answered with its problem. ``GET /v1/detector`` is ``summary.to_json`` with ``calibration_scores`` (at most 500,
ascending), ``limits`` and ``offers`` ({"stability", "provenance", "feedback"}: whether each can be asked for).
``POST /v1/feedback`` takes JSON {"sha256", "label": "synthetic" | "natural", "verdict", "image", "source", "comment"},
of which the first two are needed, and answers 201. ``GET /healthz``, ``/readyz``, ``/metrics``, ``/openapi.json``.
Whatever is not answered so is a problem (RFC 9457): {"type", "title", "status", "detail", "request_id"}.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

import fewshot
from fewshot.core.control_characters import json_text
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.service import page, schemas
from fewshot.service.feedback import MOST_BYTES, feedback_of
from fewshot.service.guard import Guard
from fewshot.service.limits import Limits
from fewshot.service.metrics import MEDIA_TYPE as METRICS_TYPE
from fewshot.service.problems import INVALID, LARGE, MEDIA, SLOW, UNAVAILABLE, Problem, answer_problems
from fewshot.service.service import Service
from fewshot.service.uploads import Upload, receive_images


def create_app(
    detector: Detector | Path | str,
    *,
    shadow: Detector | Path | str | None = None,
    weights: Sequence[str] = (),
    device: str = "auto",
    workers: int = 1,
    limits: Limits | None = None,
    hosts: Sequence[str] | None = None,
    log: Path | str | None = None,
    feedback: Path | str | None = None,
) -> FastAPI:
    """Return an ASGI application that judges images by a detector; its networks are loaded before it returns.

    Args:
        detector: a detector, or its file.
        shadow: another one that judges the same images; what it says is in metrics and log, and in no answer.
        weights: ``NAME=PATH`` requests; device: where the networks run; workers: decoding processes, at least one.
        limits: what requests may take; the defaults of ``Limits`` when None.
        hosts: names by which the service may be called, see ``Guard``; None lets every name in.
        log: audit log that takes a line for every verdict; feedback: file that takes what people say of verdicts.

    Raises:
        FewshotError: as ``Detector.load`` and ``Scorer``; or a file cannot be written.
    """
    service = Service(
        detector,
        shadow=shadow,
        weights=weights,
        device=device,
        workers=workers,
        limits=limits or Limits(),
        log=log,
        feedback=feedback,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await asyncio.to_thread(service.stop)

    app = FastAPI(
        title=f"fewshot: {service.detector.name}",
        description="Is an image natural or synthetic, and which known sources is it like?",
        version=fewshot.__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    answer_problems(app)
    app.add_middleware(Guard, metrics=service.metrics, hosts=hosts)
    _add_judging(app, service)
    _add_state(app, service)
    if feedback is not None:
        _add_feedback(app, service)
    app.router.routes.extend(page.routes(service.detector))
    return app


def _add_judging(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/predict",
        openapi_extra=schemas.IMAGES,
        responses=schemas.answers(400, 403, 408, 413, 415, 422, 429, 503, schema=schemas.PREDICTED),
    )
    async def predict(request: Request, stability: bool = False, provenance: bool = False) -> Response:
        """Judge images: for each a result or a problem, in their order."""
        _require_known(request, ("stability", "provenance"))
        service.require_taking(stability=stability, provenance=provenance)
        spooled = service.spool.admit()
        try:
            uploads = await receive_images(request, spooled, service.limits)
            spooled.hold()
            judged = await _judged(request, service, uploads, stability, spooled.release)
            results = [service.result(*each) for each in zip(uploads, judged, strict=True)]
            if provenance:
                await _add_provenance(service, uploads, results)
        except ClientDisconnect:
            service.metrics.gone.inc()
            raise
        finally:
            spooled.release()
        if not _is_multipart(request) and "problem" in results[0]:
            return _only_problem(request, results[0]["problem"])
        return _json(
            {"detector": {"name": service.detector.name, "digest": service.detector.digest}, "results": results}
        )

    @app.get("/v1/detector", responses=schemas.answers(400))
    async def detector() -> Response:
        """Say what judges: its thresholds with their promises, the calibration's scores, the limits of the service."""
        return _json(service.description)


def _add_state(app: FastAPI, service: Service) -> None:
    status = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}

    @app.get("/healthz", responses=schemas.answers(400, 503, schema=status))
    async def healthz() -> Response:
        """Say whether the process is alive; when it is not, only a new one helps."""
        service.require_alive()
        return _json({"status": "alive"})

    @app.get("/readyz", responses=schemas.answers(400, 503, schema=status))
    async def readyz() -> Response:
        """Say whether requests should be sent here."""
        service.require_ready()
        return _json({"status": "ready"})

    @app.get("/metrics", responses=schemas.answers(400, schema={"type": "string"}, media="text/plain"))
    async def metrics() -> Response:
        """Return what was counted, as Prometheus reads it."""
        return Response(service.metrics.text(), media_type=METRICS_TYPE)


def _add_feedback(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/feedback",
        status_code=201,
        openapi_extra=schemas.FEEDBACK,
        responses=schemas.answers(400, 403, 408, 413, 415, 422, 503, status=201),
    )
    async def feedback(request: Request) -> Response:
        """Keep what somebody says of one image: what it is, and what was said of it."""
        _require_known(request, ())
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem(MEDIA, "send application/json")  # also what keeps pages of other origins out
        body = await _small_body(request, service.limits)
        try:
            said = feedback_of(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(INVALID, str(error)) from error
        service.keep_feedback(said)
        return _json({"status": "kept"}, status=201)


async def _judged(
    request: Request, service: Service, uploads: Sequence[Upload], stability: bool, release: Any
) -> list[Judged]:
    """Return what is said of some uploads; when the client leaves before, they are taken out of the queue."""
    try:
        future = service.judge.submit(uploads, re_encoded=stability, release=release)
    except BaseException:
        release()
        raise
    return await _answered(request, future, seconds=service.limits.answer_seconds)


async def _answered(request: Request, future: "Future[list[Judged]]", *, seconds: float) -> list[Judged]:
    answer = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        either: set[asyncio.Future[Any]] = {answer, gone}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if gone.done():
            raise ClientDisconnect
        raise Problem(UNAVAILABLE, f"the images were not judged within {seconds:g} s", 5)
    finally:
        gone.cancel()
        answer.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _add_provenance(service: Service, uploads: Sequence[Upload], results: Sequence[dict[str, Any]]) -> None:
    try:
        async with asyncio.timeout(service.limits.answer_seconds):
            evidence = await service.provenance.evidence(uploads)
    except TimeoutError as error:
        raise Problem(UNAVAILABLE, "the provenance of the images was not read in time", 5) from error
    for result, found in zip(results, evidence, strict=True):
        if "problem" not in result:
            result["provenance"] = found


async def _small_body(request: Request, limits: Limits) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(limits.receive_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise Problem(LARGE, f"feedback has at most {MOST_BYTES:,} bytes")
    except TimeoutError as error:
        raise Problem(SLOW, f"the request did not arrive within {limits.receive_seconds} s") from error
    return body


def _require_known(request: Request, names: Sequence[str]) -> None:
    unknown = [name for name in request.query_params if name not in names]
    if unknown:
        known = f"only {' and '.join(names)} can be asked for" if names else "nothing can be asked for in the query"
        raise Problem(INVALID, f"the query asks for {unknown[0][:80]!r}; {known}")


def _is_multipart(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/")


def _only_problem(request: Request, problem: dict[str, Any]) -> Response:
    """Return the problem of the only image as that of the request."""
    body = json_text({**problem, "request_id": request.scope["state"]["request_id"]})
    return Response(body, status_code=problem["status"], media_type="application/problem+json")


def _json(document: Any, *, status: int = 200) -> Response:
    return Response(json_text(document), status_code=status, media_type="application/json")
