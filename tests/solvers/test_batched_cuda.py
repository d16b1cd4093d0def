"""The batched engine on a GPU gives what it gives on the CPU."""

import numpy as np
import pytest

from fewshot.solvers import batched
from fewshot.solvers.prepared_pool import Supports


@pytest.mark.gpu
def test_scores_and_auroc_on_a_gpu_equal_those_on_the_cpu() -> None:
    generator = np.random.default_rng(0)
    synthetic = np.arange(400) % 2 == 1
    features = generator.normal(size=(400, 32)).astype(np.float32) + synthetic[:, None]
    groups = [np.flatnonzero(synthetic == side) for side in (False, True)]
    supports = np.stack([np.concatenate([generator.permutation(rows)[:10] for rows in groups]) for _ in range(50)])
    here, there = (Supports(features, synthetic, supports, device) for device in ("cpu", "cuda"))
    for score in (batched.svm_scores, batched.logistic_scores, batched.prototype_scores):
        scores = [score(draws) for draws in (here, there)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
        np.testing.assert_allclose(
            batched.query_auroc(there, scores[1]), batched.query_auroc(here, scores[0]), atol=1e-6
        )
