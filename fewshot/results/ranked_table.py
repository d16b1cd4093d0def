"""The ranked table of a report: one line per standing, within a terminal's width; what text and notebooks show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from fewshot.results.members import backbone_title
from fewshot.results.paragraph import WIDTH, narrowed
from fewshot.results.row import FLIP_RATE, ONE, PRETRAINED, Row
from fewshot.results.source_answer import NEAREST
from fewshot.results.standing import (
    CLEAN,
    ORACLE,
    Measured,
    Standing,
    leading_metric,
    measure_title,
    of_metric,
    perturbed,
    several_layers,
    share,
    short_names,
    standing_of,
    standings,
)
from fewshot.results.tables import number_text, range_text, text_table
from fewshot.results.view_answer import under_views
from fewshot.results.weights import weight_lines
from fewshot.stats.intervals import ENOUGH_DRAWS

MOST = 20  # standings that are shown


@dataclass(frozen=True)
class Column:
    """One column of a ranking.

    Args:
        cell: what it shows of a standing.
        name: whether it holds names, which may be shortened.
    """

    title: str
    cell: Callable[[Standing], str]
    name: bool = False


@dataclass(frozen=True)
class RankedTable:
    """The first of a report's standings.

    Args:
        header: titles of the columns.
        lines: as many cells for every standing that is shown; the first is the best.
        names: numbers of the columns that hold names.
        left_out: how many standings are not shown.
        notes: sentences below it.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    names: frozenset[int]
    left_out: int
    notes: tuple[str, ...] = ()

    def text(self, *, width: int = WIDTH) -> str:
        """Return aligned columns; names are shortened in the middle where the table would be wider."""
        if not self.lines:
            return "(no rows)"
        return text_table(self.header, narrowed(self.header, self.lines, names=self.names, width=width))


def ranked_table(report: Measured, metrics: Sequence[str] | None = None, *, most: int = MOST) -> RankedTable:
    """Return the ranking of a report.

    Args:
        metrics: the measure that is ranked by, and those whose mean stands beside it; None for the leading one, with
            what belongs to the protocol.
        most: standings that are shown.
    """
    present = {row.metric for row in report.rows}
    wanted = [name for name in metrics or () if name in present]
    ranked = _ranked(report, wanted[0] if wanted else None)
    beside = wanted[1:] if metrics else [name for name in _beside(report, ranked) if name in present]
    oracles = _oracles(report, ranked)
    columns = [*_about([*ranked, *oracles]), *_measures(report, [*ranked, *oracles])]
    columns += [*(_mean_of(report, name) for name in beside), _QUERIED]
    shown = [*ranked[: max(1, most - len(oracles))], *oracles]
    return RankedTable(
        header=tuple(column.title for column in columns),
        lines=tuple(tuple(column.cell(one) for column in columns) for one in shown),
        names=frozenset(number for number, column in enumerate(columns) if column.name),
        left_out=len(ranked) + len(oracles) - len(shown),
        notes=weight_lines(report),
    )


def _ranked(report: Measured, metric: str | None) -> list[Standing]:
    """Return what is ranked in the order shown: by detector where there are views, by source for nearest sources."""
    if report.protocol == NEAREST and metric is None:
        wanted = leading_metric(report)
        return [standing_of(report, row) for row in report.rows if row.metric == wanted]
    found = standings(report, metric=metric)
    if not any(perturbed(report)) or not any(one.row.view == CLEAN for one in found):
        return list(found)
    return list(chain.from_iterable((one.clean, *one.others) for one in under_views(found)))


def _oracles(report: Measured, ranked: Sequence[Standing]) -> list[Standing]:
    """Return the backbone chosen on query labels, which stands below all: it is no detector, but a bound for one."""
    if not ranked:
        return []
    about = {(one.row.metric, one.row.view) for one in ranked}
    rows = [row for row in report.rows if row.backbone == ONE and row.selection == ORACLE and row.source == "all"]
    known = {one.row.key for one in ranked}
    return [standing_of(report, row) for row in rows if (row.metric, row.view) in about and row.key not in known]


def _beside(report: Measured, ranked: Sequence[Standing]) -> Sequence[str]:
    if report.protocol == NEAREST:
        return ("f1", "homophily")
    return ("accuracy",) if any(one.row.fraction is not None for one in ranked) else ()


def _about(ranked: Sequence[Standing]) -> list[Column]:
    """Return the columns that say what stands there; but for backbone and head only those that vary."""
    rows = [one.row for one in ranked]
    short = short_names(rows)
    shown = [
        (True, Column("backbone", lambda one: backbone_title(one.row, short), name=True)),
        (several_layers(rows), Column("layer", lambda one: "" if one.row.members else one.row.layer, name=True)),
        (True, Column("head", lambda one: one.row.head, name=True)),
        (_vary(rows, "dataset"), Column("data set", lambda one: one.row.dataset, name=True)),
        (_vary(rows, "source"), Column("source", lambda one: one.row.source, name=True)),
        (any(row.shots is not None for row in rows), Column("shots", _shots)),
        (any(row.fraction is not None for row in rows), Column("share", _share)),
        (_vary(rows, "view"), Column("view", lambda one: one.row.view, name=True)),
    ]
    return [column for there, column in shown if there]


def _vary(rows: Sequence[Row], field: str) -> bool:
    return len({getattr(row, field) for row in rows}) > 1


def _shots(standing: Standing) -> str:
    row = standing.row
    return "" if row.shots is None or row.head == PRETRAINED else str(row.shots)


def _share(standing: Standing) -> str:
    return "" if standing.row.fraction is None else share(standing.row.fraction)


def _measures(report: Measured, ranked: Sequence[Standing]) -> list[Column]:
    title = measure_title(ranked[0].row.metric) if ranked else "mean"
    enough = all(one.summary.trials >= ENOUGH_DRAWS for one in ranked)
    columns = [
        Column(f"{title} 5-95 %" if enough else f"{title} range", _landed),
        Column("mean", lambda one: number_text(one.summary.mean)),
        Column("95 % interval", lambda one: range_text(one.summary.low, one.summary.high)),
    ]
    if len({one.row.view for one in ranked}) < 2:
        return columns
    clean = {one.row.setting[:-1]: one.summary.mean for one in ranked if one.row.view == CLEAN}
    lost = Column("lost", lambda one: _lost(one, clean.get(one.row.setting[:-1], float("nan"))))
    return [*columns, lost, _mean_of(report, FLIP_RATE)]


def _landed(standing: Standing) -> str:
    return "one draw" if standing.summary.trials < 2 else range_text(*standing.row.spread)


def _lost(standing: Standing, clean: float) -> str:
    return "" if standing.row.view == CLEAN else number_text(clean - standing.summary.mean)


def _mean_of(report: Measured, metric: str) -> Column:
    def cell(standing: Standing) -> str:
        found = of_metric(report, standing.row, metric)
        return "" if found is None else number_text(found.summary().mean)

    return Column(measure_title(metric), cell)


_QUERIED = Column("n", lambda one: one.queried)
