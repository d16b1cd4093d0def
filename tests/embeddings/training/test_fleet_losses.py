"""Fleet's losses where one class is small or missing; their values are those of the recordings."""

import math

import pytest
import torch

from fewshot.core.errors import EpisodeError
from fewshot.embeddings.training.fleet_adaptation import (
    AdaptationSettings,
    LabelledImages,
    PretrainingSettings,
    adapt,
    pretrain,
    reference_of,
)
from fewshot.embeddings.training.fleet_losses import avoidance, contrast, coverage, orthogonality, pretraining_contrast

UNIT = torch.nn.functional.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), dim=1)
ALONE = torch.tensor([True, False, False, False])


class Toy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.weights = torch.nn.Linear(5, 4), torch.nn.Linear(5, 3)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.nn.functional.normalize(self.embedding(rows), dim=1), self.weights(rows).softmax(dim=1)


def images(count: int) -> LabelledImages:
    rows = torch.randn(count, 5, generator=torch.Generator().manual_seed(count))
    synthetic = torch.arange(count) % 2 == 0
    return LabelledImages((rows + 2.0 * synthetic[:, None],), synthetic)


def test_a_row_that_is_alone_of_its_class_adds_nothing_to_the_contrast() -> None:
    similarity = (UNIT @ UNIT.T / 0.5).tolist()
    expected = 0.0
    for row in (1, 2, 3):
        spread = math.log(sum(math.exp(similarity[row][other]) for other in range(4) if other != row))
        expected += spread - sum(similarity[row][other] for other in (1, 2, 3) if other != row) / 2

    assert float(contrast(UNIT, ALONE, temperature=0.5)) == pytest.approx(expected / 4, rel=1e-5)
    spread = math.log(sum(math.exp(similarity[0][other]) for other in (1, 2, 3)))
    pretraining = pretraining_contrast(UNIT, ALONE, temperature=0.5)
    assert float(pretraining) == pytest.approx((expected + spread) / 4, rel=1e-5)


def test_a_missing_class_leaves_every_loss_finite() -> None:
    weights, natural = UNIT.softmax(dim=1), torch.zeros(4, dtype=torch.bool)
    anchors = {"synthetic_anchor": weights[0], "natural_anchor": weights[1]}

    assert float(orthogonality(weights, natural)) == 0
    assert math.isfinite(float(coverage(weights, natural)))
    expected = (weights @ weights[0]).mean()
    assert float(avoidance(weights, natural, **anchors)) == pytest.approx(float(expected))


def test_distillation_is_zero_before_the_first_step() -> None:
    module, support, replay = Toy(), images(6), images(40)
    (log,) = adapt(module, support, replay, AdaptationSettings(epochs=1, batch_size=40))

    assert log.distillation == pytest.approx(0, abs=1e-5)
    assert log.total == pytest.approx(log.distillation + log.avoidance, rel=1e-6)
    assert not module.training


def test_a_large_distillation_holds_the_embeddings_where_they_were() -> None:
    moved = []
    for weight in (0.0, 1000.0):
        module, replay = Toy(), images(40)
        before = reference_of(module, replay).embeddings
        settings = AdaptationSettings(epochs=15, distillation=weight, learning_rate=1e-2, epochs_without_contrast=0)
        adapt(module, images(6), replay, settings)
        moved.append(float((reference_of(module, replay).embeddings - before).norm()))

    assert moved[1] < 0.2 * moved[0]


def test_pretraining_pulls_the_classes_apart_and_is_repeatable() -> None:
    modules = [Toy(), Toy()]
    before = float(pretraining_contrast(modules[0](*images(40).inputs)[0].detach(), images(40).synthetic))
    for module in modules:
        settings = PretrainingSettings(steps=30, learning_rate=1e-2, batch_size=16)
        pretrain(module, images(40), settings, generator=torch.Generator().manual_seed(1))

    after = float(pretraining_contrast(modules[0](*images(40).inputs)[0].detach(), images(40).synthetic))
    assert after < before
    assert torch.equal(modules[0].embedding.weight, modules[1].embedding.weight)


def test_replayed_images_of_one_class_are_refused() -> None:
    replay = images(8)
    with pytest.raises(EpisodeError, match="the 4 replay images are all synthetic; choose images of both classes"):
        reference_of(Toy(), replay[replay.synthetic])
