"""Whatever the OpenAPI document lets in or keeps out, no answer is a fault of ours, and every answer is as it says."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fewshot.detector.detector import Detector
from fewshot.service.app import create_app
from fewshot.service.limits import Limits
from fewshot.service.server import bound_socket, url_of

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def app(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    feedback = tmp_path_factory.mktemp("feedback") / "feedback.jsonl"
    return create_app(detector, limits=Limits(decode_seconds=5), feedback=feedback)


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[str]:
    """The application on a port of loopback, in a thread of this process."""
    with bound_socket("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        assert app.state.service.judge.ready.wait(60)
        yield url_of(bound)
        server.should_exit = True
        thread.join()


def test_no_request_is_answered_with_a_fault(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"{address}openapi.json")
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]  # all are
    for operation in operations:
        for mode in GenerationMode:

            @settings(
                max_examples=15,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(checks=CHECKS)

            with suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
                check()
    counted = httpx.get(f"{address}metrics").text
    for route, status in (("/v1/predict", 200), ("/v1/predict", 422), ("/v1/feedback", 201), ("/v1/feedback", 422)):
        assert f'fewshot_requests_total{{route="{route}",status="{status}"}}' in counted


def test_the_document_needs_nothing_from_elsewhere(app: FastAPI) -> None:
    document = app.openapi()
    assert {"/v1/predict", "/v1/detector", "/v1/feedback", "/healthz", "/readyz", "/metrics"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        for operation in operations.values():
            problems = [found for status, found in operation["responses"].items() if int(status) >= 400]
            assert problems, path
            assert all(list(found["content"]) == ["application/problem+json"] for found in problems), path
