"""MINDER's minimum against the maximum, its columns, and the blur that is compared with its un-sharp counterpart."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fewshot.core.errors import UnknownNameError
from fewshot.embeddings.pipeline.forward import perturbed_input
from fewshot.heads.minder import Minder
from fewshot.solvers.view_distance import cosine_distance
from tests.heads.test_rigid import IDS, IMAGES, Flat, step

LABELS = np.array([0, 0, 0, 1, 1, 1])
DISTANCES = np.array([[0.1, 0.9], [0.9, 0.1], [0.2, 0.2], [0.8, 0.7], [0.7, 0.9], [0.9, 0.8]])


def scores(head: Minder) -> np.ndarray:
    return head.fit(DISTANCES, LABELS).decision_function(DISTANCES)


def test_the_minimum_is_the_intersection_and_the_maximum_the_union() -> None:
    threshold = 0.5
    above = np.greater(DISTANCES, threshold)
    both, either = above.all(axis=1), above.any(axis=1)
    smallest, largest = (Minder(way, "paper").fit(DISTANCES, LABELS) for way in ("min", "max"))
    said = [head.decision_function(DISTANCES) + head.threshold_ > threshold for head in (smallest, largest)]
    np.testing.assert_array_equal(said[0], both)
    np.testing.assert_array_equal(said[1], either)
    assert roc_auc_score(LABELS, scores(Minder("min"))) == 1
    assert roc_auc_score(LABELS, scores(Minder("max"))) < 0.7


def test_quantiles_put_both_distances_on_one_scale() -> None:
    stretched = DISTANCES * [1.0, 1000.0]
    plain = Minder("quantile-min").fit(DISTANCES, LABELS).decision_function(DISTANCES)
    np.testing.assert_allclose(
        Minder("quantile-min").fit(stretched, LABELS).decision_function(stretched), plain, atol=1e-12
    )
    assert not np.allclose(Minder("min").fit(stretched, LABELS).decision_function(stretched), scores(Minder("min")))


def test_columns_are_the_mean_noise_distance_and_blur_against_unsharp() -> None:
    generator = np.random.default_rng(0)
    views = {name: generator.normal(size=(5, 8)) for name in Minder.views}
    clean, first, second, third, blurred, sharpened = views.values()
    noise = (cosine_distance(clean, first) + cosine_distance(clean, second) + cosine_distance(clean, third)) / 3
    found = Minder().prepare(views, normalised=False)
    np.testing.assert_allclose(found[:, 0], noise)
    np.testing.assert_allclose(found[:, 1], cosine_distance(blurred, sharpened))


def test_the_unsharp_view_lies_opposite_to_the_blur_around_the_image() -> None:
    batch = torch.from_numpy(IMAGES)
    steps = [step(f"input-{kind}:0.55") for kind in ("blur", "unsharp")]
    blurred, sharpened = (perturbed_input(Flat(), batch, one, IDS) for one in steps)
    clean = Flat().normalise(batch)
    torch.testing.assert_close(sharpened - clean, clean - blurred, rtol=0, atol=1e-4)  # nothing clips here
    assert (blurred - clean).abs().max() > 0.1


def test_the_three_noise_draws_differ_and_have_the_wanted_size_in_pixels() -> None:
    batch = torch.from_numpy(IMAGES)
    clean = batch.float() / 255
    std = torch.tensor(Flat().card.input.std).view(3, 1, 1)
    draws = [
        (perturbed_input(Flat(), batch, step(view), IDS) - Flat().normalise(batch)) * std for view in Minder.views[1:4]
    ]
    for draw in draws:
        assert draw.std().item() == pytest.approx(0.009, rel=0.02)
    assert not torch.allclose(draws[0], draws[1])
    assert clean.min() > 0.3


def test_an_unknown_way_to_combine_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no way to combine 'mean'"):
        Minder("mean").fit(DISTANCES, LABELS)  # type: ignore[arg-type]
