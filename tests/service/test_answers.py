"""What the service answers: verdicts as ``predict`` gives them, problems of images, what it says of itself."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fewshot.detector.audit_log import read_audit_log
from fewshot.detector.detector import Detector
from fewshot.detector.stability import DEFAULT
from fewshot.service.app import create_app
from fewshot.service.limits import Limits
from tests.service.conftest import png

LIMITS = Limits(image_bytes=200_000, request_bytes=400_000, request_images=5, receive_seconds=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def client(detector: Detector, contrary: Detector, folder: Path) -> Iterator[TestClient]:
    app = create_app(
        detector,
        shadow=contrary,
        limits=LIMITS,
        hosts=["localhost"],
        log=folder / "audit.jsonl",
        feedback=folder / "feedback.jsonl",
    )
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        assert app.state.service.judge.ready.wait(60)
        yield client


def sent(client: TestClient, *images: bytes, query: str = "") -> Any:
    files = [("images", (f"{number}.png", image)) for number, image in enumerate(images)]
    return client.post(f"/v1/predict{query}", files=files)


def require_problem(response: Any, status: int, kind: str, words: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert problem["type"] == f"urn:fewshot:problem:{kind}"
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert words in problem["detail"]


def test_answers_equal_those_of_predict_in_the_order_of_the_images(
    client: TestClient, detector: Detector, tmp_path: Path
) -> None:
    images = [png(50), png(51, synthetic=True), b"no image", png(52)]
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(image)

    answer = sent(client, *images).json()
    expected = detector.predict(paths)

    assert answer["detector"] == {"name": detector.name, "digest": detector.digest}
    assert [each["image"] for each in answer["results"]] == ["0.png", "1.png", "2.png", "3.png"]
    for found, judged in zip(answer["results"], expected, strict=True):
        if judged.judgement is None:
            assert found["problem"]["status"] == 415
            assert found["problem"]["type"] == "urn:fewshot:problem:image-not-an-image"
            continue
        assert found["sha256"] == judged.file_sha256
        assert found["verdict"] == judged.judgement.verdict
        np.testing.assert_allclose(found["score"], judged.judgement.score, atol=1e-5)
        assert [near["key"] for near in found["nearest"]] == [near.key for near in judged.judgement.neighbours]


def test_a_raw_body_is_one_image(client: TestClient) -> None:
    answer = client.post("/v1/predict", content=png(53), headers={"content-type": "image/png"})
    assert answer.status_code == 200
    assert [each["image"] for each in answer.json()["results"]] == ["image 1"]


def test_answers_are_not_kept_by_caches_nor_guessed_at(client: TestClient) -> None:
    headers = sent(client, png(1)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"plain text", 415, "image-not-an-image"),
        (png(1)[:300], 422, "image-truncated"),
        (png(1)[:60] + b"\0" * 200 + png(1)[260:], 422, "image-damaged"),
    ],
)
def test_a_raw_body_that_cannot_be_judged_is_answered_with_its_problem(
    client: TestClient, body: bytes, status: int, kind: str
) -> None:
    require_problem(client.post("/v1/predict", content=body, headers={"content-type": "image/png"}), status, kind)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client: TestClient) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    answer = client.post("/v1/predict", content=bomb.getvalue(), headers={"content-type": "image/png"})
    require_problem(answer, 413, "image-bomb", "400000000 pixels")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\cat.png", "cat.png"),
        ("a\x1b[2Jb.png", "a\\x1b[2Jb.png"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("n" * 1000, "n" * 200),
        ("/", "image 1"),
    ],
)
def test_names_of_files_are_bounded_and_made_safe(client: TestClient, name: str, shown: str) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="%s"\r\n\r\n' % name.encode()
        + png(1)
        + b"\r\n--b--\r\n"
    )
    answer = client.post("/v1/predict", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.json()["results"][0]["image"] == shown


def test_re_encodings_are_looked_at_where_they_are_asked_for(client: TestClient) -> None:
    (plain,), (checked,) = (sent(client, png(1), query=query).json()["results"] for query in ("", "?stability=true"))
    assert plain["under"] == {}
    assert set(checked["under"]) == set(DEFAULT)
    np.testing.assert_allclose(checked["score"], plain["score"], atol=1e-5)


def test_the_shadow_is_in_metrics_and_log_and_in_no_answer(
    client: TestClient, detector: Detector, contrary: Detector, folder: Path
) -> None:
    answer = sent(client, png(77))
    sent(client, png(78))  # its batch begins after the shadow's of the one before
    result = answer.json()["results"][0]
    verdict = result["verdict"]
    entries = [each for each in read_audit_log(folder / "audit.jsonl") if each.image_sha256 == result["sha256"]]

    assert "contrary" not in answer.text
    assert [each.detector_sha256 for each in entries] == [detector.digest, contrary.digest]
    assert [each.verdict for each in entries] == [verdict, "synthetic"]
    assert f'fewshot_shadow_images_total{{shadow="synthetic",verdict="{verdict}"}}' in client.get("/metrics").text


def test_the_detector_is_described_with_its_calibration_and_limits(client: TestClient, detector: Detector) -> None:
    described = client.get("/v1/detector").json()
    assert described["digest"] == detector.digest
    assert described["path"] == "noise.detector"
    assert described["calibration_scores"] == sorted(detector.calibration_scores.tolist())
    assert described["limits"]["image_bytes"] == LIMITS.image_bytes
    assert described["limits"]["image_pixels"] == 178_956_970
    assert described["offers"]["stability"] is True
    assert any("10 of 100 natural images" in promise for promise in described["promises"])


def test_health_readiness_metrics_and_openapi_are_there(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert "fewshot_images_total" in client.get("/metrics").text
    assert set(client.get("/openapi.json").json()["paths"]) >= {"/v1/predict", "/v1/detector", "/v1/feedback"}
    assert client.get("/docs").status_code == 404


def test_feedback_is_appended_as_one_line_each(client: TestClient, detector: Detector, folder: Path) -> None:
    sha256 = sent(client, png(9)).json()["results"][0]["sha256"]
    said = {"sha256": sha256, "label": "synthetic", "verdict": "natural", "image": "9.png", "source": "gan"}
    assert client.post("/v1/feedback", json=said).status_code == 201
    line = json.loads((folder / "feedback.jsonl").read_text().splitlines()[-1])
    assert {name: line[name] for name in said} == said
    assert (line["synthetic"], line["detector_sha256"]) == (True, detector.digest)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 422, "invalid-request"),
        (b'{"sha256": "x", "label": "natural"}', 422, "invalid-request"),
        (b'{"sha256": "%s", "label": "maybe"}' % (b"0" * 64), 422, "invalid-request"),
        (b'{"sha256": "%s", "label": "natural", "more": 1}' % (b"0" * 64), 422, "invalid-request"),
        (b"\xff\xfe", 422, "invalid-request"),
        (b"[" * 15_000, 422, "invalid-request"),
        (b" " * 20_000, 413, "too-large"),
    ],
)
def test_what_is_no_feedback_is_refused(client: TestClient, body: bytes, status: int, kind: str) -> None:
    answer = client.post("/v1/feedback", content=body, headers={"content-type": "application/json"})
    require_problem(answer, status, kind)


def test_feedback_of_pages_of_other_origins_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/feedback", content=b"{}", headers={"content-type": "text/plain"})
    require_problem(answer, 415, "unsupported-media-type")


MULTIPART = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="1"\r\n\r\n%s\r\n'


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind", "words"),
    [
        (b"", MULTIPART, 400, "bad-request", "last boundary"),
        (b"--b--\r\n", MULTIPART, 400, "bad-request", "no image"),
        (b"nonsense", MULTIPART, 400, "bad-request", "not multipart"),
        (PART % (b"images", b"x"), MULTIPART, 400, "bad-request", "ends before"),
        (b"", {"content-type": "multipart/form-data"}, 400, "bad-request", "boundary"),
        (b"", {"content-type": f"multipart/form-data; boundary={'b' * 300}"}, 400, "bad-request", "boundary"),
        (b"", {"content-type": "image/png"}, 400, "bad-request", "empty"),
        (PART % (b"file", b"x") + b"--b--\r\n", MULTIPART, 422, "invalid-request", "'file'"),
        (PART % (b"images", b"x") * 6 + b"--b--\r\n", MULTIPART, 413, "too-large", "more than 5 images"),
        (b"x" * 200_001, {"content-type": "image/png"}, 413, "too-large", "200,000 bytes"),
        (b"x" * 400_001, {"content-type": "image/png"}, 413, "too-large", "400,000 bytes"),
        (b"{}", {"content-type": "application/json"}, 415, "unsupported-media-type", "application/json"),
        (b"", {}, 415, "unsupported-media-type", "no Content-Type"),
    ],
)
def test_a_request_that_cannot_be_taken_is_a_problem(
    client: TestClient, body: bytes, headers: dict[str, str], status: int, kind: str, words: str
) -> None:
    require_problem(client.post("/v1/predict", content=body, headers=headers), status, kind, words)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/predict/", 404, "not-found"),
        ("GET", "/v1/predict", 405, "method-not-allowed"),
        ("DELETE", "/v1/detector", 405, "method-not-allowed"),
        ("POST", "/v1/predict?stability=perhaps", 422, "invalid-request"),
        ("POST", "/v1/predict?threshold=1", 422, "invalid-request"),
    ],
)
def test_errors_of_the_framework_are_problems_too(
    client: TestClient, method: str, path: str, status: int, kind: str
) -> None:
    require_problem(client.request(method, path), status, kind)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "localhost@evil.example"])
def test_a_name_that_is_not_ours_is_refused(client: TestClient, host: str) -> None:
    require_problem(client.get("/v1/detector", headers={"host": host}), 400, "unknown-host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000"])
def test_our_own_name_is_taken_with_any_port(client: TestClient, host: str) -> None:
    assert client.get("/v1/detector", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(("site", "taken"), [("cross-site", False), ("same-site", False), ("same-origin", True)])
def test_only_our_own_page_may_send_images_from_a_browser(client: TestClient, site: str, taken: bool) -> None:
    headers = {"content-type": "image/png", "sec-fetch-site": site}
    answer = client.post("/v1/predict", content=png(1), headers=headers)
    if taken:
        assert answer.status_code == 200
    else:
        require_problem(answer, 403, "other-site")


def test_a_service_that_is_being_stopped_takes_no_images_and_is_not_ready(client: TestClient) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]  # of our own application
    service.stopping = True
    try:
        require_problem(client.get("/readyz"), 503, "unavailable")
        answer = sent(client, png(1))
        require_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "5"
        assert client.get("/healthz").status_code == 200
    finally:
        service.stopping = False
    assert sent(client, png(1)).status_code == 200


def test_a_fault_of_ours_is_a_problem_that_tells_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]  # of our own application
    monkeypatch.setattr(service, "description", object())
    answer = client.get("/v1/detector")
    require_problem(answer, 500, "failed", "fault of the service")
    assert "serializable" not in answer.text


def test_provenance_is_refused_where_its_package_is_not_installed(client: TestClient) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]  # of our own application
    offered, service.provenance.offered = service.provenance.offered, False
    try:
        require_problem(sent(client, png(1), query="?provenance=true"), 422, "invalid-request", "fewshot[c2pa]")
    finally:
        service.provenance.offered = offered
