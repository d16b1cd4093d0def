"""Warnings that stand beside numbers say what is so, of whom, and no more."""

import numpy as np

from fewshot.draws.episodes import Pool
from fewshot.protocols.trials.caveats import row_caveats
from fewshot.results.row import Row


def _row(backbone: str, auroc: float, **fields: object) -> Row:
    about = {"dataset": "d", "source": "all", "metric": "auroc", "n_support": 20, "n_query": 200, "shots": 10}
    return Row(backbone, "late", "fixed", "svm", values=(auroc,), **(about | fields))  # type: ignore[arg-type]


def _pool() -> Pool:
    synthetic = np.arange(8) >= 4
    source = np.where(synthetic, "sd3", "photos").astype(object)
    return Pool(source=source, synthetic=synthetic)


def test_one_detector_with_an_auroc_of_0_19_ranks_the_wrong_way_and_labels_are_not_doubted() -> None:
    notes = row_caveats([_row("a", 0.19), _row("b", 0.81), _row("c", 0.77)], _pool())
    assert notes == [
        "a late, head svm, 10 shots: AUROC 0.190 is far below 0.5: this detector ranks these images inverted, natural "
        "above synthetic"
    ]


def test_an_auroc_of_0_19_of_the_only_detector_does_not_doubt_labels_either() -> None:
    (note,) = row_caveats([_row("a", 0.19)], _pool())
    assert "labels" not in note
