"""Scores of members beside the detector's own."""

import numpy as np
import pytest

from fewshot.detector.choosable import Choosable
from fewshot.detector.detector import Detector
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.detector.known_images import KnownImages
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.heads.base import HEADS, Head


def fitted(*backbones: str) -> Detector:
    """A detector whose members look at Gaussian features of as many toy backbones, of different scales."""
    among = []
    for backbone in backbones:
        head: Head = HEADS.load("prototype")()
        info = LayerInfo(
            backbone=backbone,
            layer="pooled",
            view=head.views[0],
            dimension=4,
            dtype="float32",
            digest="",
            normalised=False,
            default=True,
            provenance={"weights": {"net": "ab" * 32}, "input": "toy", "precision": "fp32"},
        )
        among.append(Choosable(info, head))
    rng, synthetic = np.random.default_rng(0), np.arange(20) >= 10
    features = {
        key: (rng.normal(size=(20, 4)) + 2.0 * synthetic[:, None]).astype(np.float32) * (number + 1)
        for number, key in enumerate(key for each in among for key in each.keys)
    }
    images = KnownImages(
        keys=np.array([f"{number}.png" for number in range(20)], dtype=object),
        ids=np.array([f"id-{number}" for number in range(20)], dtype=object),
        sources=np.where(synthetic, "sd3", "camera").astype(object),
        roles=np.full(20, "support", dtype=object),
        synthetic=synthetic,
        features=features,
    )
    return fit_detector(images, among, FitSettings(combine="mean"), name="toy")


@pytest.mark.parametrize("backbones", [("one",), ("one", "two", "three")])
def test_score_is_the_mean_of_what_its_members_are_said_to_score(backbones: tuple[str, ...]) -> None:
    detector = fitted(*backbones)
    rows = {key: values[:7] for key, values in detector.images.features.items()}
    judgements = detector.judge(rows, [""] * 7)
    assert [list(each.members) for each in judgements] == [[f"{name}/pooled" for name in backbones]] * 7
    means = [np.mean(list(each.members.values())) for each in judgements]
    np.testing.assert_allclose([each.score for each in judgements], means, rtol=1e-12)
