"""A report over networks that were never trained says so."""

from pathlib import Path

import numpy as np
import pandas as pd

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.trials.pool import load_pool


def test_backbones_with_random_weights_are_named_in_a_warning(tmp_path: Path) -> None:
    samples = pd.DataFrame(
        {"key": list("abcd"), "source": ["real", "real", "gan", "gan"], "synthetic": [False, False, True, True]}
    )
    features = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    weights = {"trained": {"net": "5604ab1a"}, "untrained": {"net": "5604ab1a", "head": "random"}}
    layers = [
        LayerData(backbone=name, layer="feature", features=features, default=True, provenance={"weights": digests})
        for name, digests in weights.items()
    ]
    write_store(tmp_path / "toy.h5", samples, layers)

    with FeatureStore(tmp_path / "toy.h5") as store:
        both = load_pool(store, backbones=["trained", "untrained"]).warnings
        trained = load_pool(store, backbones=["trained"]).warnings

    said = [warning for warning in both if "RANDOM WEIGHTS" in warning]
    assert said == ["RANDOM WEIGHTS in toy.h5: untrained; the rows of these backbones mean nothing"]
    assert not any("RANDOM" in warning for warning in trained)
