"""The few-shot protocol over several stores: each on its own, or every one as support against every one as query."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fewshot.core.errors import OptionError, OutputError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.base import QUIET, Result, RunContext
from fewshot.protocols.fiser import Fiser, fiser_of
from fewshot.protocols.trials.support_lists import read_supports
from fewshot.results.report import Report


def adapt_across(
    stores: Sequence[FeatureStore | Path | str], *, cross: bool = False, context: RunContext = QUIET, **options: Any
) -> Result:
    """Run ``adapt`` on every store and join the results; with ``cross`` also on every ordered pair.

    Args:
        stores: one or more.
        cross: support from A and query from B, for every A and B.
        context: how each is run. The names of kept scores begin with the data set when there are several runs.
        options: those of ``adapt``.
    """
    if cross and options.get("query"):
        raise OptionError("--cross takes every store as query in turn, so --query cannot stand beside it")
    protocol = fiser_of(**options)
    opened = [store if isinstance(store, FeatureStore) else FeatureStore(store) for store in stores]
    runs: list[tuple[FeatureStore, Fiser]] = [(store, protocol) for store in opened]
    if cross:
        runs += [(a, replace(protocol, query=str(b.path))) for a in opened for b in opened if b is not a]
    _require_distinct(opened)
    results = [one.run(store, context) for store, one in runs]
    return results[0] if len(results) == 1 else _joined(results)


def adapt_and_save(
    stores: Sequence[Path | str],
    *,
    out: Path | None = None,
    keep_scores: bool = False,
    quiet: bool = True,
    support: Path | Sequence[Sequence[str]] | None = None,
    **options: Any,
) -> Report:
    """Run ``adapt_across`` and write the report, and the scores beside it as ``.npz`` when they are kept.

    Args:
        out: the report file.
        keep_scores: save the scores and query masks of every row; needs ``out``.
        quiet: show no progress.
        support: lists of sample keys, one per trial, or a file of them, see ``read_supports``.
        options: those of ``adapt_across``; None stands for the default of ``solver`` and ``start``.

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
    for name in ("solver", "start"):
        if options.get(name) is None:
            options.pop(name, None)
    result = adapt_across(stores, context=RunContext(quiet=quiet, keep_scores=keep_scores), **options)
    if out is not None:
        result.save(out)
    return result.report


def _require_distinct(opened: Sequence[FeatureStore]) -> None:
    """Refuse a store that is given twice: its rows and supports would stand under one name."""
    paths = [store.path.resolve() for store in opened]
    twice = next((path for number, path in enumerate(paths) if path in paths[:number]), None)
    if twice is not None:
        raise OptionError(f"the store {twice} is given twice; name every store once")


def _title(report: Report) -> str:
    return report.rows[0].dataset


def _joined(results: Sequence[Result]) -> Result:
    reports = [result.report for result in results]
    titles = [_title(report) for report in reports]
    if len(set(titles)) < len(titles):
        again = next(title for number, title in enumerate(titles) if title in titles[:number])
        raise OptionError(
            f"two stores hold the data set {again!r}, and their rows could not be told apart; run them one by one, or "
            f"name another data set in one of them"
        )
    supports: dict[str, Any] = {}
    warnings: list[str] = []
    scores: dict[str, NDArray[Any]] = {}
    for result, report in zip(results, reports, strict=True):
        supports |= {f"{_title(report)}|{trial}": keys for trial, keys in report.supports.items()}
        warnings += [f"{_title(report)}: {note}" for note in report.warnings]
        scores |= {f"{_title(report)}|{name}": values for name, values in (result.scores or {}).items()}
    config: Mapping[str, Any] = {**reports[0].config, "runs": [dict(report.config) for report in reports]}
    rows = tuple(row for report in reports for row in report.rows)
    joined = replace(reports[0], config=config, rows=rows, supports=supports, warnings=tuple(warnings))
    return Result(joined, scores if results[0].scores is not None else None)
