"""All figures of one attribution report: data curve, deviations, Fisher's ratio, scores of two heads."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.figures.canvas import save_figure
from fewshot.figures.data_curve import data_curve
from fewshot.figures.deviations import deviation_violins
from fewshot.figures.fisher import fisher_bars
from fewshot.figures.logits import logit_scatter
from fewshot.protocols.curve.finished_points import FinishedPoint
from fewshot.results.report import Report

CURVE_METRICS = ("average_precision", "accuracy", "auroc")
_PROBE = "linear-probe"


def draw_all(
    report: Report, points: Mapping[str, FinishedPoint], store: FeatureStore, folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Draw every figure that the report and its kept points allow; return the files.

    Args:
        report: of the attribution protocol.
        points: head -> the point of its largest fraction.
        store: which the points' rows are of.
        folder: where the files go; made if need be.
        formats: ``png``, ``svg``, ``pdf``.
    """
    figures = {"data_curve": data_curve(report.rows, metrics=CURVE_METRICS), **dict(_per_image(points, store))}
    return [save_figure(figure, folder / f"{name}.{kind}") for name, figure in figures.items() for kind in formats]


def _per_image(points: Mapping[str, FinishedPoint], store: FeatureStore) -> Iterator[tuple[str, Figure]]:
    attributed = {head: point for head, point in points.items() if "deviation" in point.arrays}
    if not attributed:
        return
    rows = next(iter(attributed.values())).arrays["rows"]
    synthetic, sources = store.synthetic[rows], store.source[rows]
    names = {head: head.removeprefix("acm:") for head in attributed}
    yield (
        "deviations",
        deviation_violins({names[h]: p.arrays["deviation"] for h, p in attributed.items()}, sources, synthetic),
    )
    yield "fisher_ratio", fisher_bars({names[head]: _ratios(point) for head, point in attributed.items()})
    for head, point in attributed.items():
        if _PROBE in points:
            scores = points[_PROBE].arrays["scores"], point.arrays["scores"]
            yield f"scores_{names[head]}", logit_scatter(scores, (_PROBE, head), synthetic)


def _ratios(point: FinishedPoint) -> tuple[float, float]:
    return point.values["all", "fisher_ratio_features"], point.values["all", "fisher_ratio_deviation"]
