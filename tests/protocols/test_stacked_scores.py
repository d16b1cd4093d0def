"""Scores of one head per backbone, stacked: what ``--fuse scores`` reports is what the head gives."""

from pathlib import Path

import numpy as np

from fewshot.core.arrays import unit_rows
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.stacked import Stacked
from fewshot.protocols.fiser import adapt_with_scores
from fewshot.results.row import WEIGHT
from tests.protocols.fusion_store import WIDTHS, fusion_store


def test_scores_of_any_head_are_stacked_inside_the_support(tmp_path: Path) -> None:
    path = fusion_store(tmp_path / "toy.h5")
    result = adapt_with_scores(path, trials=2, shots=4, backbone="ferret+noise", head="svm,lda", fuse="scores")

    store, scores = FeatureStore(path), result.scores or {}
    columns = np.concatenate(
        [unit_rows(store.read(None, name, "pooled"), what=name) for name in ("ferret", "noise")], axis=1
    )
    support = np.flatnonzero(scores["support|4"][0])
    for name in ("svm", "lda"):
        one = Stacked((WIDTHS["ferret"], WIDTHS["noise"]), base=name)
        one.fit(columns[support], store.synthetic[support].astype(int))
        found = scores[f"ferret+noise|fixed|{name}|4"][0]
        np.testing.assert_allclose(found, one.decision_function(columns), rtol=1e-4, atol=1e-4)
        assert len(result.report.where(head=name, metric=WEIGHT)) == 2
