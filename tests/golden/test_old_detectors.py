"""Detectors made before members could be fused still load, score as they did, and are sound."""

from pathlib import Path

import numpy as np
import pytest

from fewshot.detector.detector import Detector
from fewshot.detector.verification import verify_detector

OLD = Path(__file__).with_name("detectors")


@pytest.mark.parametrize("name", ["svm", "mean"])
def test_a_detector_of_version_1_scores_as_it_did(name: str) -> None:
    kept = np.load(OLD / f"{name}.npz")
    found = Detector.load(OLD / f"{name}.detector")
    queries = {(layer.backbone, layer.layer, layer.view): kept["rows"] for layer in found.layers}
    np.testing.assert_allclose(found.score(queries)[0], kept["scores"], rtol=1e-9, atol=1e-12)
    assert found.description.fusion is None
    assert found.description.weights == {}
    assert verify_detector(OLD / f"{name}.detector").sound
