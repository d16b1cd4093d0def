"""Standings: the rows that a report is ranked by, the best first, and the words for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fewshot.results.members import backbone_title, row_backbones
from fewshot.results.row import FLIP_RATE, PRETRAINED, SHORT_TITLES, Row
from fewshot.stats.intervals import ENOUGH_DRAWS, Summary

# The first of these that a report has is the one that it is ranked by.
LEADING_METRICS = ("auroc", "accuracy", "average_precision")
ORACLE = "oracle"
CLEAN = "clean"
GENERIC = ("torchvision", "timm")  # backbones of other libraries: NAME behind these prefixes says which


class Measured(Protocol):
    """What of a report its answer is made of."""

    @property
    def protocol(self) -> str:
        """The protocol's name."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """All of the protocol's fields."""
        ...

    @property
    def rows(self) -> Sequence[Row]:
        """The measures."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader of the numbers must know."""
        ...


@dataclass(frozen=True)
class Standing:
    """One way of detecting and how well it did on all images queried.

    Args:
        row: of the leading measure.
        summary: of the row's values over the draws.
    """

    row: Row
    summary: Summary

    @property
    def size(self) -> str:
        """How much it was shown, in words; empty for a head that came with its checkpoint."""
        return size_in_words(self.row)

    @property
    def landed(self) -> str:
        """Where single draws landed, in words."""
        (low, high), draws = self.row.spread, self.summary.trials
        if draws < 2:
            return "one draw"
        if draws < ENOUGH_DRAWS:
            return f"{draws} draws landed between {low:.2f} and {high:.2f}"
        return f"a single draw lands between {low:.2f} and {high:.2f} nine times of ten"

    @property
    def queried(self) -> str:
        """How many images it was measured on: natural and synthetic, or their sum where the classes are not known."""
        row = self.row
        return str(row.n_query) if row.n_natural is None else f"{row.n_natural}+{row.n_query - row.n_natural}"


def leading_metric(report: Measured) -> str | None:
    """Return the measure that a report is ranked by, or None when it has no rows."""
    present = list(dict.fromkeys(row.metric for row in report.rows))
    return next((name for name in (*LEADING_METRICS, *present) if name in present), None)


def standings(report: Measured, *, metric: str | None = None) -> tuple[Standing, ...]:
    """Return what a report ranks, the best first: pooled rows of one measure, none chosen on query labels.

    Where all were chosen on query labels, these are ranked.

    Args:
        metric: the measure; None for the leading one.
    """
    wanted = metric or leading_metric(report)
    pooled = [row for row in report.rows if row.metric == wanted and row.source == "all"]
    rows = [row for row in pooled if row.selection != ORACLE] or pooled
    found = [standing_of(report, row) for row in rows]
    return tuple(sorted(found, key=lambda one: -np.nan_to_num(one.summary.mean, nan=-np.inf)))


def standing_of(report: Measured, row: Row) -> Standing:
    """Return one row of a report with its summary as the report counts."""
    return Standing(row, row.summary(ddof=int(report.config.get("ddof", 1))))


def short_names(rows: Sequence[Row]) -> dict[str, str]:
    """Return for every backbone the name that sentences and tables show: without the library, where it is clear.

    >>> import dataclasses
    >>> row = Row("torchvision:vgg16", "pooled", "fixed", "svm", "toy", "all", "auroc", 20, 80, (0.5,))
    >>> short_names([row, dataclasses.replace(row, backbone="npr:progan")])
    {'torchvision:vgg16': 'vgg16', 'npr:progan': 'npr:progan'}
    """
    full = list(dict.fromkeys(name for row in rows for name in row_backbones(row)))
    short = [_without_library(name) for name in full]
    taken = [*full, *short]
    return {name: one if one != name and taken.count(one) == 1 else name for name, one in zip(full, short, strict=True)}


def _without_library(name: str) -> str:
    library, colon, rest = name.partition(":")
    return rest if colon and rest and library in GENERIC else name


def several_layers(rows: Sequence[Row]) -> bool:
    """Whether some backbone stands with several layers, heads of checkpoints and fused ones apart."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        if row.head != PRETRAINED and not row.members:
            seen.setdefault(row.backbone, set()).add(row.layer)
    return any(len(layers) > 1 for layers in seen.values())


@dataclass(frozen=True)
class Names:
    """How sentences name what stands in a ranking: by no more than tells it from the others.

    Args:
        short: see ``short_names``.
        layers: whether the layer must be said. datasets: whether the data set must.
    """

    short: Mapping[str, str]
    layers: bool
    datasets: bool

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Names":
        """Return what the names among these rows must say."""
        return cls(short_names(rows), several_layers(rows), len({row.dataset for row in rows}) > 1)

    def backbone(self, row: Row) -> str:
        """Return the backbone as it is named here, with its layer where there are several."""
        layer = f" ({row.layer})" if self.layers and row.head != PRETRAINED and not row.members else ""
        return f"{backbone_title(row, self.short)}{layer}"

    def detector(self, row: Row) -> str:
        """Return backbone and head, and the data set where there are several."""
        where = f" on {row.dataset}" if self.datasets else ""
        if row.head == PRETRAINED:
            return f"the pretrained head of {self.backbone(row)}{where}"
        return f"{self.backbone(row)} + {row.head}{where}"


def size_in_words(row: Row) -> str:
    """Return how much the head of a row was shown; empty for a head that came with its checkpoint."""
    if row.head == PRETRAINED:
        return ""
    if row.fraction is not None:
        return f"{share(row.fraction)} of the training images"
    return "" if row.shots is None else f"{row.shots} {'shot' if row.shots == 1 else 'shots'}"


def best_of(compared: Sequence[object]) -> str:
    """Return, to follow what did best, among how many it did: they were compared on the very images it is said of."""
    return f", the best of {len(compared)} compared on these query images" if len(compared) > 1 else ""


def share(fraction: float) -> str:
    """Return a share of images as sentences print it.

    >>> share(0.0005)
    '0.05 %'
    """
    return f"{100 * fraction:g} %"


def measure_title(metric: str) -> str:
    """Return a measure's name as tables print it."""
    return "flips" if metric == FLIP_RATE else SHORT_TITLES.get(metric, metric.replace("_", " "))


def of_metric(report: Measured, row: Row, metric: str) -> Row | None:
    """Return the row of another measure of the very same setting; None where there is none."""
    return next((one for one in report.rows if one.metric == metric and one.setting == row.setting), None)


def perturbed(report: Measured) -> Iterator[Row]:
    """Yield the pooled rows under other views than the clean one."""
    return (row for row in report.rows if row.view != CLEAN and row.source == "all")
