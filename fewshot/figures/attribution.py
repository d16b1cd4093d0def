"""All figures of one attribution report: data curve, deviations, Fisher's ratio, scores of two heads."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fewshot.core.arrays import FloatArray
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.figures.canvas import save_figure
from fewshot.figures.data_curve import data_curve
from fewshot.figures.deviations import deviation_violins
from fewshot.figures.fisher import fisher_bars
from fewshot.figures.logits import logit_scatter
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.results.scores import Arrays, name_at_point

CURVE_METRICS = ("average_precision", "accuracy", "auroc")
_PROBE = "linear-probe"


def draw_all(report: Report, scores: Arrays, store: FeatureStore, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw every figure that the report and its scores allow; return the files.

    Args:
        report: of the attribution protocol, of one layer.
        scores: kept beside it; the figures per image are of the first draw of the largest fraction.
        store: which the scores' rows are of.
        folder: where the files go; made if need be.
        formats: ``png``, ``svg``, ``pdf``.
    """
    figures = {"data_curve": data_curve(report.rows, metrics=CURVE_METRICS), **dict(_per_image(report, scores, store))}
    return [save_figure(figure, folder / f"{name}.{kind}") for name, figure in figures.items() for kind in formats]


def _per_image(report: Report, scores: Arrays, store: FeatureStore) -> Iterator[tuple[str, Figure]]:
    deviations = _at_largest(report, scores, "deviation")
    if not deviations:
        return
    rows = next(iter(_at_largest(report, scores, "rows").values())).astype(np.int64)
    synthetic, sources = store.synthetic[rows], store.source[rows]
    names = {head: head.removeprefix("acm:") for head in deviations}
    violins = {names[head]: deviation for head, deviation in deviations.items()}
    yield "deviations", deviation_violins(violins, sources, synthetic)
    yield "fisher_ratio", fisher_bars({names[head]: _ratios(report, head) for head in deviations})
    logits = _at_largest(report, scores, "scores")
    for head in deviations:
        if _PROBE in logits:
            yield f"scores_{names[head]}", logit_scatter((logits[_PROBE], logits[head]), (_PROBE, head), synthetic)


def _at_largest(report: Report, scores: Arrays, kind: str) -> dict[str, FloatArray]:
    """Return per head the array of the largest fraction's first draw."""
    largest = max(row.fraction or 0.0 for row in report.rows)
    named = {head: name_at_point(kind, head, largest, 0) for head in dict.fromkeys(row.head for row in report.rows)}
    return {head: scores[name] for head, name in named.items() if name in scores}


def _ratios(report: Report, head: str) -> tuple[float, float]:
    """Return Fisher's ratio of the features and of the deviations, of the same draw."""
    largest = max(row.fraction or 0.0 for row in report.rows)

    def value(metric: str) -> float:
        row: Row = next(iter(report.where(head=head, metric=metric, fraction=largest, source="all")))
        return row.values[0]

    return value("fisher_ratio_features"), value("fisher_ratio_deviation")
