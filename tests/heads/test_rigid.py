"""RIGID on inputs whose distance is known: no noise, more noise, a linear network, both placements of the noise."""

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewshot.core.errors import UnknownNameError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import IMAGENET_MEAN, IMAGENET_STD, Squash
from fewshot.embeddings.inputs.views import InputStep, parse
from fewshot.embeddings.pipeline.forward import perturbed_input
from fewshot.heads.rigid import Rigid
from fewshot.solvers.view_distance import cosine_distance

SIDE = 48
IMAGES = np.random.default_rng(0).integers(90, 166, size=(12, 3, SIDE, SIDE), dtype=np.uint8)  # far from 0 and 255
IDS = [f"pixels{number}" for number in range(len(IMAGES))]


class Flat(Backbone):
    """The normalised input itself: the simplest linear network."""

    name: ClassVar[str] = "flat"

    def make_card(self) -> BackboneCard:
        rule = InputRule((Squash(SIDE, SIDE),), mean=IMAGENET_MEAN, std=IMAGENET_STD)
        return BackboneCard(self.name, {"pixels": 3 * SIDE * SIDE}, "pixels", rule)

    def build(self) -> nn.Module:
        return nn.Identity()

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return {"pixels": batch.flatten(1)}


def step(view: str) -> InputStep:
    found = parse(view).input
    assert found is not None
    return found


def seen(view: str, order: list[int] | None = None) -> Tensor:
    rows = list(range(len(IMAGES))) if order is None else order
    batch = torch.from_numpy(IMAGES[rows])
    return perturbed_input(Flat(), batch, step(view), [IDS[row] for row in rows]).flatten(1)


CLEAN = Flat().normalise(torch.from_numpy(IMAGES)).flatten(1).numpy()


def distances(view: str) -> np.ndarray:
    return Rigid().prepare({"clean": CLEAN, view: seen(view).numpy()}, normalised=False)[:, 0]


def test_no_noise_gives_a_similarity_of_exactly_one() -> None:
    assert np.array_equal(1 - distances("input-noise:0"), np.ones(len(IMAGES)))


def test_similarity_falls_as_the_noise_grows() -> None:
    means = [1 - distances(f"input-noise:{amount}").mean() for amount in (0.01, 0.05, 0.2, 1.0)]
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1] + 0.1


@pytest.mark.parametrize("amount", [0.05, 0.5, 2.0])
def test_a_linear_network_moves_by_the_angle_of_the_closed_form(amount: float) -> None:
    squared = (CLEAN.astype(np.float64) ** 2).sum(axis=1)
    expected = 1 - np.sqrt(squared / (squared + amount**2 * CLEAN.shape[1]))  # the noise is all but orthogonal
    np.testing.assert_allclose(distances(f"input-noise:{amount}"), expected, rtol=0.15)


def test_noise_follows_the_image_and_not_its_place_in_the_batch() -> None:
    order = [7, 0, 11, 3]
    assert torch.equal(seen("input-noise:0.05", order), seen("input-noise:0.05")[order])


def test_the_two_units_of_noise_differ_by_the_factor_std() -> None:
    normalised = (seen("input-noise:0.05").numpy() - CLEAN).reshape(len(IMAGES), 3, -1)
    unit = (seen("input-noise:0.05:unit").numpy() - CLEAN).reshape(len(IMAGES), 3, -1)
    for channel, std in enumerate(IMAGENET_STD):
        np.testing.assert_allclose(unit[:, channel] * std, normalised[:, channel], atol=2e-6)


def test_distance_is_one_minus_the_cosine_whatever_the_lengths() -> None:
    first, second = np.array([[1.0, 0.0], [3.0, 3.0]]), np.array([[0.0, 2.0], [5.0, 0.0]])
    np.testing.assert_allclose(cosine_distance(first, second), [1.0, 1 - math.sqrt(0.5)])


def test_several_draws_are_averaged() -> None:
    views = {"clean": CLEAN, "a": seen("input-noise:0.1").numpy(), "b": 2 * CLEAN}
    columns = Rigid().prepare(views, normalised=False)
    head = Rigid().fit(columns, np.arange(12) % 2)
    scores = head.decision_function(columns)
    np.testing.assert_allclose(head.sign_ * scores + head.threshold_, columns.mean(axis=1))


def test_the_paper_keeps_its_sign_and_calibration_learns_it() -> None:
    moved = np.r_[np.linspace(2, 3, 20), np.linspace(0, 1, 20)][:, None]  # inverted: natural images move farther
    labels = np.repeat([0, 1], 20)
    paper, calibrated = Rigid("paper").fit(moved, labels), Rigid().fit(moved, labels)
    assert paper.sign_ == 1
    assert paper.score(moved, labels) < 0.5
    assert paper.threshold_ == pytest.approx(np.quantile(moved[:20], 0.95))
    assert calibrated.sign_ == -1
    assert calibrated.score(moved, labels) == 1


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'paper'"):
        Rigid("papers").fit(np.zeros((4, 1)), [0, 1, 0, 1])  # type: ignore[arg-type]
