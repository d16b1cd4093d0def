"""The few-shot protocol over several stores: each on its own, or every one as support against every one as query."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import OptionError, OutputError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.fiser import adapt
from fewshot.protocols.trials.supports import read_supports
from fewshot.results.report import Report
from fewshot.results.scores import save_scores


def adapt_across(
    stores: Sequence[FeatureStore | Path | str],
    *,
    cross: bool = False,
    scores: dict[str, FloatArray] | None = None,
    **options: Any,
) -> Report:
    """Run ``adapt`` on every store and join the reports; with ``cross`` also on every ordered pair.

    Args:
        stores: one or more.
        cross: support from A and query from B, for every A and B.
        scores: a dictionary to be filled; the names begin with the data set when there are several runs.
        options: those of ``adapt``.
    """
    opened = [store if isinstance(store, FeatureStore) else FeatureStore(store) for store in stores]
    if cross and options.get("query"):
        raise OptionError("--cross takes every store as query in turn, so --query cannot stand beside it")
    pairs: list[tuple[FeatureStore, FeatureStore | None]] = [(store, None) for store in opened]
    if cross:
        pairs += [(store, query) for store in opened for query in opened if query is not store]
    reports = []
    for store, query in pairs:
        found: dict[str, FloatArray] | None = None if scores is None else {}
        beside = {"query": str(query.path)} if query is not None else {}
        reports.append(adapt(store, scores=found, **{**options, **beside}))
        if scores is not None and found is not None:
            title = f"{_title(reports[-1])}|" if len(pairs) > 1 else ""
            scores.update({f"{title}{name}": values for name, values in found.items()})
    return reports[0] if len(reports) == 1 else _joined(reports)


def _title(report: Report) -> str:
    return report.rows[0].dataset


def _joined(reports: Sequence[Report]) -> Report:
    supports: dict[str, Any] = {}
    warnings: list[str] = []
    for report in reports:
        supports.update({f"{_title(report)}|{trial}": keys for trial, keys in report.supports.items()})
        warnings += [f"{_title(report)}: {note}" for note in report.warnings]
    config: Mapping[str, Any] = {**reports[0].config, "runs": [dict(report.config) for report in reports]}
    rows = tuple(row for report in reports for row in report.rows)
    return replace(reports[0], config=config, rows=rows, supports=supports, warnings=tuple(warnings))


def adapt_and_save(
    stores: Sequence[Path | str],
    *,
    out: Path | None = None,
    keep_scores: bool = False,
    support: Path | Sequence[Sequence[str]] | None = None,
    solver: str | None = None,
    **options: Any,
) -> Report:
    """Run ``adapt_across`` and write the report, and the scores beside it as ``.npz`` when asked.

    Args:
        out: the report file.
        keep_scores: save the scores and query masks of every row; needs ``out``.
        support: lists of sample keys, one per trial, or a file of them, see ``protocols.drawing.read_supports``.
        solver: None for the one that the draw implies.

    Raises:
        OptionError: scores are to be kept and there is no report file.
        OutputError: a file cannot be written; nothing is run when the folder is missing.
    """
    if keep_scores and out is None:
        raise OptionError("--keep-scores saves beside the report, and there is none; give -o REPORT.json")
    if out is not None and not out.parent.is_dir():
        raise OutputError(f"the report {out} cannot be written: there is no folder {out.parent}; make it or change -o")
    if support is not None:
        lists = read_supports(support) if isinstance(support, Path) else support
        options["support"] = tuple(tuple(listed) for listed in lists)
    if solver is not None:
        options["solver"] = solver
    scores: dict[str, FloatArray] | None = {} if keep_scores else None
    report = adapt_across(stores, scores=scores, **options)
    if out is not None:
        report.save(out)
        if scores is not None:
            save_scores(out.with_suffix(".npz"), scores)
    return report
