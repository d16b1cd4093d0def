"""ROC curves of a report, from the scores that ``--keep-scores`` left beside it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.core.errors import ReportError
from fewshot.figures.bars import detector_name, largest_support
from fewshot.figures.roc import roc_curves, roc_on_grid
from fewshot.figures.series import few_at_a_time
from fewshot.page.charts import Chart
from fewshot.results.report import Report
from fewshot.results.row import Row, spread_in_words
from fewshot.results.scores import Arrays, kept_of_draws, name_at_point, require_array, scores_beside
from fewshot.stats.intervals import ENOUGH_DRAWS
from fewshot.stats.metrics import auroc

ROC = "ROC curves"
_TOLERANCE = 1e-3  # between a report's AUROC and that of its scores, which are kept as float32

Trial = tuple[FloatArray, BoolArray]


def roc_charts(report: Report, scores: Arrays) -> Iterator[Chart]:
    """Yield the ROC curves of the best detectors, with those of the others behind "show all".

    Args:
        report: of the protocols ``fiser`` or ``attribution``.
        scores: what was kept beside it, by ``scores_beside``.

    Raises:
        ReportError: the scores are not those of this report.
    """
    pooled = [row for row in report.rows if row.source == "all" and row.metric == "auroc" and row.selection == "fixed"]
    ranked = sorted(largest_support(pooled), key=lambda row: -np.nan_to_num(row.summary().mean))
    kept = [(row, trials) for row in ranked if (trials := list(_trials(row, scores)))]
    curves: dict[str, list[Float64Array]] = {}
    for row, trials in kept:
        _require_same(row, trials[0])
        curves[detector_name(row, [one for one, _ in kept])] = [roc_on_grid(*trial) for trial in trials]
    if curves:
        first, *others = [roc_curves({name: curves[name] for name in part}) for part in few_at_a_time(list(curves))]
        yield Chart(first, _caption([row for row, _ in kept]), part=ROC, others=tuple(others))


def _caption(rows: Sequence[Row]) -> str:
    enough = max(len(row.values) for row in rows) >= ENOUGH_DRAWS
    interval = " dark band: 95 % interval of that mean; light" if enough else ""
    return (
        f"ROC of all images, at the largest support. Line: mean over draws;{interval} band: {spread_in_words(rows)}. "
        f"The upright line is a false alarm rate of 5 %."
    )


def _trials(row: Row, scores: Arrays) -> Iterator[Trial]:
    """Yield (scores, synthetic) of every trial's query; nothing where the row's scores were not kept."""
    return _of_curve(row, scores) if row.fraction is not None else _of_draws(row, scores)


def _of_draws(row: Row, scores: Arrays) -> Iterator[Trial]:
    """Yield what ``fewshot adapt`` kept."""
    kept = kept_of_draws(row, scores)
    if kept is not None:
        for values, query in zip(kept.scores, kept.masks.query, strict=True):
            yield values[query], kept.masks.synthetic[query]


def _of_curve(row: Row, scores: Arrays) -> Iterator[Trial]:
    """Yield what ``fewshot attribute`` kept: rows of the store and their scores, per head, fraction and trial."""
    for trial in range(len(row.values)):
        names = [name_at_point(kind, row.head, row.fraction or 0.0, trial) for kind in ("rows", "scores")]
        rows, values = (scores.get(name) for name in names)
        if "synthetic" in scores and rows is not None and values is not None:
            yield _of_rows(rows, values, scores["synthetic"])


def _of_rows(rows: NDArray[Any], values: NDArray[Any], synthetic: NDArray[Any]) -> Trial:
    """Return the scores (k,) of rows (k,) of the store with their classes."""
    require_array(synthetic, "b", (None,), what="the classes")
    require_array(rows, "i", (None,), what="the rows")
    require_array(values, "f", (len(rows),), what="the scores")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(synthetic):
        raise ReportError(
            f"the scores kept beside the report name row {int(rows.max())}, and there are {len(synthetic)} images; run "
            f"again with --keep-scores, or move the .npz away"
        )
    return values, synthetic[rows]


def _require_same(row: Row, first: Trial) -> None:
    values, synthetic = first
    found = float(auroc(values[None].astype(np.float64), synthetic)[0])
    if abs(found - row.values[0]) > _TOLERANCE:
        raise ReportError(
            f"the scores beside the report are of another run: {row.backbone} {row.head} has AUROC "
            f"{row.values[0]:.4f} in the report's first trial and {found:.4f} by the scores; run again with "
            f"--keep-scores, or move the .npz away"
        )


def all_roc_charts(reports: Mapping[str, Report]) -> dict[str, list[Chart]]:
    """Return path -> ROC figures, for every report file; none where no scores were kept beside it."""
    return {path: list(roc_charts(report, scores_beside(path))) for path, report in reports.items()}
