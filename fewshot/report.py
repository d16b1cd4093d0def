"""Reports: one value per trial for every measure, with everything needed to run it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Selection = Literal["fixed", "support-cv", "oracle"]
SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One measure of one head on one query set, a value per trial.

    Args:
        source: ``"all"`` for the pooled query set, else the generator that stands against all natural images.
        shots: labelled images per class (or per source); None where ``fraction`` is given.
        fraction: share of the training set used; None where ``shots`` is given.
        values: one value per trial.
    """

    backbone: str
    layer: str
    selection: Selection
    head: str
    dataset: str
    source: str
    metric: str
    n_support: int
    n_query: int
    values: tuple[float, ...]
    shots: int | None = None
    fraction: float | None = None
    view: str = "clean"


@dataclass(frozen=True)
class Report:
    """The result of one protocol run; ``supports`` and ``config`` are enough to replay it."""

    protocol: str
    config: Mapping[str, Any]
    rows: tuple[Row, ...]
    supports: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
