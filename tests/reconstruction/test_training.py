"""The alternation, the losses and the optimum of training against plain PyTorch, PCA and each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fewshot.core.errors import OptionError, UnknownNameError
from fewshot.reconstruction.perceptron import PerceptronStack
from fewshot.reconstruction.stream import RowStream
from fewshot.reconstruction.trained import Trained
from fewshot.reconstruction.training import CLASSIFIER_STD, TrainingRows, train
from fewshot.reconstruction.training_settings import TrainingSettings, budget

SETTINGS = TrainingSettings(latent=3, widths=(20,), batch_size=32, steps=40, learning_rate=1e-3)
FEATURES = np.random.default_rng(0).normal(size=(150, 8)).astype(np.float32) * np.linspace(0.2, 2, 8, dtype=np.float32)


def rows(*, seed: int = 0, others: int = 50, validation: bool = False) -> TrainingRows:
    held = (FEATURES[100:], np.arange(50) % 2 == 0) if validation else None
    return TrainingRows(lambda r: FEATURES[r], np.arange(50), np.arange(50, 50 + others), seed, held)


def weights(trained: Trained) -> tuple[torch.Tensor, torch.Tensor]:
    assert trained.autoencoder is not None
    return trained.autoencoder.parameters, trained.classifier.parameters


def linear_layers(stack: PerceptronStack) -> nn.Sequential:
    parts: list[nn.Module] = []
    for (weight, bias), rectified in zip(stack.layers(0), stack.relu, strict=True):
        linear = nn.Linear(weight.shape[0], weight.shape[1])
        linear.weight.data.copy_(weight.T)
        linear.bias.data.copy_(bias)
        parts += [linear, nn.ReLU()] if rectified else [linear]
    return nn.Sequential(*parts)


def test_losses_equal_those_of_a_plain_pytorch_loop_on_the_same_batches() -> None:
    (trained,) = train([rows(seed=4)], SETTINGS, fit_on_synthetic=True)

    widths, relu = SETTINGS.autoencoder(8)
    network = linear_layers(PerceptronStack(widths, relu=relu, seeds=[4]))
    head = linear_layers(PerceptronStack((8, 1), relu=(False,), seeds=[4 + (1 << 32)], std=CLASSIFIER_STD))
    adams = [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (network, head)]
    fitted, others = (
        RowStream(rows().read, part, seed=(4, number))
        for number, part in enumerate((rows().class_rows, rows().other_rows))
    )
    expected = []
    for _ in range(SETTINGS.steps or 0):
        batch = fitted.take(16)
        attribution = (batch - network(batch)).abs().mean()
        adams[0].zero_grad()
        attribution.backward()
        adams[0].step()
        both = torch.cat([batch, others.take(16)])
        deviation = (both - network(both)).abs().detach()
        labels = (torch.arange(32) < 16).float()
        classification = nn.functional.binary_cross_entropy_with_logits(head(deviation)[:, 0], labels)
        adams[1].zero_grad()
        classification.backward()  # type: ignore[no-untyped-call]  # torch is untyped here
        adams[1].step()
        expected.append((attribution.item(), classification.item()))

    found = np.column_stack([trained.attribution_loss, trained.classification_loss])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_all_alternations_give_the_same_encoder_decoder_bit_by_bit() -> None:
    models = [
        train([rows()], replace(SETTINGS, schedule=schedule), fit_on_synthetic=False)[0]
        for schedule in ("batch", "epoch", "two-stage")
    ]
    first, *rest = [weights(model)[0] for model in models]
    assert all(torch.equal(first, other) for other in rest)
    classifiers = [weights(model)[1] for model in models]
    assert not torch.equal(classifiers[0], classifiers[2])


def test_models_side_by_side_come_out_as_alone() -> None:
    together = train([rows(seed=seed) for seed in (1, 2, 3)], SETTINGS, fit_on_synthetic=False)
    for seed, beside in zip((1, 2, 3), together, strict=True):
        (alone,) = train([rows(seed=seed)], SETTINGS, fit_on_synthetic=False)
        for found, want in zip(weights(beside), weights(alone), strict=True):
            torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(beside.attribution_loss, alone.attribution_loss, rtol=1e-4)


def test_a_linear_encoder_decoder_with_squared_loss_reaches_the_pca_residual() -> None:
    generator = np.random.default_rng(1)
    mixed = generator.normal(size=(400, 10)) * np.geomspace(3, 0.1, 10) @ generator.normal(size=(10, 10)) / 3 + 1.5
    features = mixed.astype(np.float32)
    settings = TrainingSettings(
        latent=4, widths=(), activation="none", norm="l2", batch_size=200, steps=1500, learning_rate=1e-2
    )
    entry = TrainingRows(lambda r: features[r], np.arange(400), np.arange(10), 0)

    (trained,) = train([entry], settings, fit_on_synthetic=False)

    singular = np.linalg.svd(mixed - mixed.mean(axis=0), compute_uv=False)
    optimum = (singular[4:] ** 2).sum()  # Eckart-Young: nothing of rank 4 leaves less
    found = float((trained.deviation(features).astype(np.float64) ** 2).sum())
    assert optimum * 0.999 <= found <= optimum * 1.02


def test_the_probe_learns_on_the_features_themselves() -> None:
    (trained,) = train([rows()], SETTINGS, fit_on_synthetic=False, attribution=False)
    assert np.array_equal(trained.deviation(FEATURES[:5]), FEATURES[:5])
    weight, bias = trained.classifier.layers(0)[0]
    np.testing.assert_allclose(trained.logits(FEATURES), FEATURES @ weight[:, 0].numpy() + bias.item(), rtol=1e-4)


def test_the_kept_step_is_the_best_on_validation() -> None:
    settings = replace(SETTINGS, steps=600)
    (trained,) = train([rows(validation=True)], settings, fit_on_synthetic=True)
    (last,) = train([rows()], settings, fit_on_synthetic=True)
    held, labels = FEATURES[100:], np.arange(50) % 2 == 0
    assert trained.steps == 600
    assert trained.kept_step % 100 == 0
    assert np.mean((trained.logits(held) > 0) == labels) >= np.mean((last.logits(held) > 0) == labels)
    np.testing.assert_array_equal(trained.attribution_loss, last.attribution_loss)


def test_a_plateau_lowers_the_rate_and_ends_before_the_cap() -> None:
    settings = replace(SETTINGS, steps=60_000, stop="plateau", patience=1)
    (trained,) = train([rows(validation=True)], settings, fit_on_synthetic=True)
    assert 400 <= trained.steps < 60_000  # at least one check for each of 1e-3, 1e-4, 1e-5, 1e-6
    assert len(trained.classification_loss) == trained.steps


def test_unequal_classes_stay_balanced_in_every_batch() -> None:
    assert budget(TrainingSettings(), class_rows=40, other_rows=1000).half == 128
    assert budget(TrainingSettings(), class_rows=40, other_rows=1000).epoch == 8
    assert budget(TrainingSettings(), class_rows=9, other_rows=9).half == 9


def test_the_published_widths_stand_at_768_dimensions() -> None:
    assert TrainingSettings().autoencoder(768)[0] == (768, 1024, 1024, 256, 1024, 1024, 768)
    assert TrainingSettings().autoencoder(768)[1] == (True, True, False, True, True, False)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"norm": "l3"}, UnknownNameError, "no norm 'l3'"),
        ({"schedule": "bath"}, UnknownNameError, "did you mean 'batch'"),
        ({"batch_size": 1}, OptionError, "batch_size 1 must be 2 or more"),
        ({"latent": 0}, OptionError, "latent is 0"),
        ({"learning_rate": 0.0}, OptionError, "learning_rate is 0.0"),
    ],
)
def test_a_choice_that_cannot_be_used_is_refused(options: dict[str, object], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        TrainingSettings(**options)  # type: ignore[arg-type]


def test_models_of_unequal_size_do_not_train_side_by_side() -> None:
    with pytest.raises(OptionError, match="equal budgets"):
        train([rows(), TrainingRows(rows().read, np.arange(5), np.arange(50, 55), 1)], SETTINGS, fit_on_synthetic=False)


def test_a_plateau_needs_a_validation_set() -> None:
    with pytest.raises(OptionError, match="validation set"):
        train([rows()], replace(SETTINGS, stop="plateau"), fit_on_synthetic=False)
