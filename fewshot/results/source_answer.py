"""What a report on nearest sources says in one sentence: how many images are given to their own source."""

from collections.abc import Iterator

from fewshot.results.row import Row
from fewshot.results.standing import Measured

NEAREST = "nearest"  # the protocol


def source_parts(report: Measured) -> list[str]:
    """Return the parts of the sentence: every source known, one new, one left out."""
    return [*_known(report), *_new(report), *_left_out(report)] or ["nothing was measured"]


def _known(report: Measured) -> Iterator[str]:
    found, balanced = (_mean(report, name, "all") for name in ("source_accuracy", "balanced_source_accuracy"))
    if found is None:
        return
    row = next(row for row in report.rows if row.metric == "source_accuracy" and row.source == "all")
    evenly = "" if balanced is None else f", {100 * balanced:.0f} % when every source counts alike"
    yield f"{row.backbone}: the nearest images name the right source of {100 * found:.0f} % of {row.n_query}{evenly}"
    worst = min(_of_sources(report, "source_accuracy"), key=_mean_of, default=None)
    if worst is not None and _mean_of(worst) < found:
        yield f"least of {worst.source}, {100 * _mean_of(worst):.0f} %"


def _new(report: Measured) -> Iterator[str]:
    shots = [row.shots for row in report.rows if row.metric == "new_source_recall" and row.shots is not None]
    if shots:
        most = max(shots)
        recall = _mean(report, "new_source_recall", "macro", shots=most)
        if recall is not None:
            images = "1 image" if most == 1 else f"{most} images"
            yield f"a source known from {images} is recalled {100 * recall:.0f} % of the time"


def _left_out(report: Measured) -> Iterator[str]:
    rate = _mean(report, "unknown_rate", "macro")
    if rate is not None:
        yield f"a source that is not in the index is called unknown {100 * rate:.0f} % of the time"


def _of_sources(report: Measured, metric: str) -> list[Row]:
    return [row for row in report.rows if row.metric == metric and row.source not in ("all", "macro")]


def _mean(report: Measured, metric: str, source: str, *, shots: int | None = None) -> float | None:
    rows = [row for row in report.rows if (row.metric, row.source) == (metric, source)]
    found = next((row for row in rows if shots is None or row.shots == shots), None)
    return None if found is None else _mean_of(found)


def _mean_of(row: Row) -> float:
    return row.summary().mean
