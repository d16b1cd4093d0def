"""Is A better than B: backbones and heads compared on the same draws, with an interval and a corrected p-value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any, Literal

import numpy as np

from fewshot.core.errors import ReportError
from fewshot.results.pairing import paired_rows
from fewshot.results.report import Report
from fewshot.results.row import FUSED, ONE, PRETRAINED, Row
from fewshot.results.scores import Arrays, Kept, kept_of_draws
from fewshot.results.standing import ORACLE, share
from fewshot.stats.intervals import Paired, holm
from fewshot.stats.two_way import two_way_difference

Kind = Literal["draws", "two-way"]
Pair = tuple[Row, Row]
RUNNERS_UP = 5  # how many the best is compared with, at equal shots
_COMMANDS = {"fiser": "adapt", "attribution": "attribute"}  # of protocols that are called otherwise


@dataclass(frozen=True)
class Comparison:
    """One pair of rows measured on the same draws.

    Args:
        rows: what is compared.
        result: the difference first minus second.
        p_holm: its p-value corrected for all comparisons of the list.
        interval: what interval and p-value generalise to: other ``draws`` from these images, or ``two-way``: other
            draws and other images.
    """

    rows: Pair
    result: Paired
    p_holm: float
    interval: Kind = "draws"

    @property
    def first(self) -> str:
        """What stands first, for example ``"npr pooled svm"``."""
        return _name(self.rows[0])

    @property
    def second(self) -> str:
        """What it is compared with."""
        return _name(self.rows[1])

    @property
    def setting(self) -> str:
        """Data set, source, shots and metric of both."""
        return " ".join(_setting(self.shown))

    @property
    def shown(self) -> Row:
        """The row that says how many images both were shown: a fitted one, where there is one."""
        first, second = self.rows
        return second if first.head == PRETRAINED else first

    @property
    def highest(self) -> float:
        """The larger of the two means."""
        return max(row.summary().mean for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        result = self.result
        return {
            "first": self.first,
            "second": self.second,
            "setting": self.setting,
            "interval": self.interval,
            "difference": result.difference,
            "low": result.low,
            "high": result.high,
            "p": result.p,
            "p_holm": self.p_holm,
            "p_query_overlap": result.p_query_overlap,
            "trials": result.trials,
        }


def compare_within(
    report: Report, *, metric: str = "auroc", source: str = "all", scores: Arrays | None = None
) -> list[Comparison]:
    """Compare every two backbones or heads of one report that were shown as much, and heads of checkpoints with all.

    Args:
        scores: what was kept beside the report; given, intervals and p-values are those of the two-way bootstrap, and
            heads of checkpoints, whose scores are not kept, are left out.

    Raises:
        ReportError: the scores of a row were not kept, or the measure is not one AUROC.
    """
    rows = _wanted(report, metric, source, with_scores=scores is not None)
    return _compared([pair for pair in combinations(rows, 2) if _alike(*pair)], _both(scores))


def compare_best(
    report: Report, *, metric: str = "auroc", source: str = "all", scores: Arrays | None = None
) -> list[Comparison]:
    """Compare at every number of shots the best with those next to it: every backbone by its best head and layer.

    What was fused of several backbones stands against each of them and against the one chosen in the support. Where
    there is one backbone, its heads and layers stand against each other. The best setting comes first, and in it
    the pair of the two best. What was chosen on query labels takes no part.

    Args:
        scores: as of ``compare_within``.

    Raises:
        ReportError: as of ``compare_within``.
    """
    rows = [row for row in _wanted(report, metric, source, with_scores=scores is not None) if row.selection != ORACLE]
    found = [pairs for pairs in map(_leader_with_others, _fields_of_contenders(rows)) if pairs]
    found.sort(key=lambda pairs: -mean_of(pairs[0][0]))
    return _compared([pair for pairs in found for pair in pairs], _both(scores))


def compare_across(
    first: Report,
    second: Report,
    *,
    metric: str = "auroc",
    source: str = "all",
    scores: tuple[Arrays, Arrays] | None = None,
) -> list[Comparison]:
    """Compare the rows of one report with those of another that was drawn alike.

    Rows of the same backbone, layer and head stand against each other; where no two rows match so, every row of one
    stands against every row of the other.

    Raises:
        ReportError: the two are of different protocols, or did not draw the same supports.
    """
    _require_drawn_alike(first, second)
    mine, theirs = (_wanted(report, metric, source, with_scores=scores is not None) for report in (first, second))
    pairs = [pair for pair in product(mine, theirs) if _alike(*pair)]
    same = [(a, b) for a, b in pairs if _name(a) == _name(b) and _setting(a) == _setting(b)]
    return _compared(same or pairs, scores)


def best_across(
    first: Report,
    second: Report,
    *,
    metric: str = "auroc",
    source: str = "all",
    scores: tuple[Arrays, Arrays] | None = None,
) -> list[Comparison]:
    """Compare at every number of shots the best backbones of one report with what stands against them in another.

    Every backbone of the first stands with its best head and layer, and against the same of the second; where no two
    are the same, the best of one stands against the best of the other.

    Raises:
        ReportError: as of ``compare_across``.
    """
    _require_drawn_alike(first, second)
    rows = [
        [row for row in _wanted(one, metric, source, with_scores=scores is not None) if row.selection != ORACLE]
        for one in (first, second)
    ]
    mine, theirs = ({row.setting: row for field in map(_by_backbone, _fields(of)) for row in field} for of in rows)
    others = {(_name(row), _setting(row)): row for row in rows[1]}
    pairs = [(row, others[_name(row), _setting(row)]) for row in mine.values() if (_name(row), _setting(row)) in others]
    if not pairs:
        fields = [{_setting(row): row for row in sorted(of.values(), key=mean_of)} for of in (mine, theirs)]
        pairs = [(row, fields[1][setting]) for setting, row in fields[0].items() if setting in fields[1]]
    return _compared(sorted(pairs, key=lambda pair: -max(map(mean_of, pair))), scores)


def _require_drawn_alike(first: Report, second: Report) -> None:
    if first.protocol != second.protocol:
        commands = [f"`fewshot {_COMMANDS.get(one.protocol, one.protocol)}`" for one in (first, second)]
        raise ReportError(
            f"the first report is of {commands[0]} and the second of {commands[1]}: what two protocols measure is not "
            f"measured on the same draws; compare two reports of one protocol"
        )
    shared = [trial for trial in first.supports if first.supports[trial] == second.supports.get(trial)]
    if not shared or len(shared) != len(first.supports) or len(shared) != len(second.supports):
        raise ReportError(
            f"the reports share {len(shared)} of {max(len(first.supports), len(second.supports))} draws; a paired "
            f"comparison needs the same: run both with equal --seed, --trials, --shots, --where and --group"
        )


def _wanted(report: Report, metric: str, source: str, *, with_scores: bool) -> list[Row]:
    """Return the rows to compare; those that no trial has a value of take no part."""
    found = [row for row in report.where(metric=metric, source=source) if not np.isnan(row.values).all()]
    return [row for row in found if row.head != PRETRAINED or not with_scores]


def _both(scores: Arrays | None) -> tuple[Arrays, Arrays] | None:
    return None if scores is None else (scores, scores)


def _fields(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows that were shown as much, setting by setting, with the heads of checkpoints in each."""
    fitted = [row for row in rows if row.head != PRETRAINED] or rows
    for setting in dict.fromkeys(map(_setting, fitted)):
        one = next(row for row in fitted if _setting(row) == setting)
        yield [row for row in rows if _alike(row, one)]


def _fields_of_contenders(rows: Sequence[Row]) -> Iterator[list[Row]]:
    for field in _fields(rows):
        best = _by_backbone(field)
        several = len({row.backbone for row in best}) > 1
        yield best if several else sorted(field, key=lambda row: -mean_of(row))


def _by_backbone(field: Sequence[Row]) -> list[Row]:
    """Return the best fitted row of every backbone, and the rows of checkpoints' own heads; the best first."""
    best: dict[tuple[str, bool], Row] = {}
    for row in sorted(field, key=lambda row: -mean_of(row)):
        best.setdefault((row.backbone, row.head == PRETRAINED), row)
    return list(best.values())


def _leader_with_others(contenders: Sequence[Row]) -> list[Pair]:
    """Return the best with those next to it; what was fused, where there is such, with all that it was fused of."""
    fused = [row for row in contenders if row.members and row.backbone != ONE]
    if fused:
        leader = next((row for row in fused if row.backbone == FUSED), fused[0])
        return [(leader, other) for other in contenders if other is not leader]
    return [(contenders[0], other) for other in contenders[1 : RUNNERS_UP + 1]]


def mean_of(row: Row) -> float:
    """Return a row's mean, that of a row without values below all others."""
    return float(np.nan_to_num(row.summary().mean, nan=-np.inf))


def _compared(pairs: Sequence[Pair], scores: tuple[Arrays, Arrays] | None) -> list[Comparison]:
    results = [paired_rows(*pair) for pair in pairs]
    if scores is not None:
        results = [_over_images(one, pair, scores) for one, pair in zip(results, pairs, strict=True)]
    corrected = holm([result.p for result in results])
    kind: Kind = "draws" if scores is None else "two-way"
    return [Comparison(pair, result, p, kind) for pair, result, p in zip(pairs, results, corrected, strict=True)]


def _over_images(over_draws: Paired, pair: Pair, scores: tuple[Arrays, Arrays]) -> Paired:
    """Return the comparison with the interval and p-value of the two-way bootstrap."""
    first, second = (_kept(row, arrays) for row, arrays in zip(pair, scores, strict=True))
    if first.scores.shape != second.scores.shape or not np.array_equal(first.masks.query, second.masks.query):
        raise ReportError(
            f"{_name(pair[0])} and {_name(pair[1])} were not measured on the same queries; run both with one --where"
        )
    found = two_way_difference(first.scores, second.scores, first.masks, seed=0)
    return replace(over_draws, low=found.low, high=found.high, p=found.p)


def _kept(row: Row, arrays: Arrays) -> Kept:
    if row.metric != "auroc" or row.source == "macro":
        raise ReportError(
            f"the two-way interval is of an AUROC of all images or of one generator, not of {row.source} {row.metric}; "
            f"use --interval draws"
        )
    kept = kept_of_draws(row, arrays)
    if kept is None:
        raise ReportError(
            f"the scores of {_name(row)} were not kept beside the report; run adapt again with --keep-scores, or use "
            f"--interval draws"
        )
    return kept if row.source == "all" else kept.against(row.source)


def _name(row: Row) -> str:
    choice = "" if row.selection == "fixed" else f" ({row.selection})"
    return f"{row.backbone} {row.layer} {row.head}{choice}"


def _setting(row: Row) -> tuple[str, ...]:
    """Return what two rows must share to be compared: data set, source, size, measure and view."""
    about = [row.dataset, row.source]
    if row.head != PRETRAINED and row.fraction is not None:
        about.append(share(row.fraction))
    elif row.head != PRETRAINED and row.shots is not None:
        about.append(f"{row.shots} shots")
    return (*about, row.metric, *([] if row.view == "clean" else [row.view]))


def _alike(first: Row, second: Row) -> bool:
    """Whether two rows can be compared: a checkpoint's own head, which was shown nothing, with any size."""
    if len(first.values) != len(second.values):
        return False
    if PRETRAINED in (first.head, second.head):
        return all(getattr(first, name) == getattr(second, name) for name in ("dataset", "source", "metric", "view"))
    return _setting(first) == _setting(second)
