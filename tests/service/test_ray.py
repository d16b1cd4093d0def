"""The adapter for Ray Serve that docs/how-to/serve.md shows, where Ray is installed; it is no dependency."""

from pathlib import Path

import pytest

from tests.service.conftest import png


def test_ray_serves_what_create_app_returns(detector_file: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray Serve is not installed, and no dependency")
    serve = pytest.importorskip("ray.serve", reason="Ray Serve is not installed, and no dependency")
    import httpx

    import fewshot

    file = str(detector_file)

    @serve.deployment
    @serve.ingress(lambda: fewshot.create_app(file))
    class Service:
        """Answers as ``fewshot serve`` does."""

    try:
        serve.run(Service.bind())  # type: ignore[attr-defined]  # which the decorators give it
        headers = {"Content-Type": "image/png"}
        answer = httpx.post("http://127.0.0.1:8000/v1/predict", content=png(1), headers=headers, timeout=60)
        assert "verdict" in answer.json()["results"][0]
    finally:
        serve.shutdown()
        ray.shutdown()
