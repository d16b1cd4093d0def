"""The adapter for Ray Serve that docs/how-to/serve.md shows; collected where Ray is installed (conftest.py)."""

import time
from pathlib import Path

import httpx
import ray
from ray import serve

import fewshot
from tests.service.conftest import png


def _posted(headers: dict[str, str]) -> httpx.Response:
    return httpx.post("http://127.0.0.1:8000/v1/predict", content=png(1), headers=headers, timeout=60)


def test_ray_serves_what_create_app_returns(detector_file: Path) -> None:
    file = str(detector_file)

    @serve.deployment
    @serve.ingress(lambda: fewshot.create_app(file))
    class Service:
        """Answers as ``fewshot serve`` does."""

    try:
        serve.run(Service.bind())  # type: ignore[attr-defined]  # the decorators give it
        headers = {"Content-Type": "image/png"}
        deadline = time.monotonic() + 60
        while (answer := _posted(headers)).status_code == 503 and time.monotonic() < deadline:
            time.sleep(float(answer.headers["retry-after"]))
        assert answer.status_code == 200, answer.text
        assert "verdict" in answer.json()["results"][0]
    finally:
        serve.shutdown()
        ray.shutdown()
