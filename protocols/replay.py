"""Run a report of any protocol again from its own configuration and compare the numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fewshot.core.errors import OptionError, ReportError, UnknownNameError
from fewshot.core.provenance import provenance
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.base import PROTOCOLS, Protocol
from fewshot.protocols.trials.pool import ARROW
from fewshot.protocols.trials.stores_read import StoreRead, stores_read
from fewshot.results.report import Difference, Report
from fewshot.results.row import Row

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Replay:
    """A report run again.

    Args:
        report: what came out this time.
        difference: how far the numbers lie apart.
        supports_equal: whether supports drawn today are those of the report. ``fewshot adapt`` is measured on the saved
            supports whatever today's draw gives; the others are measured on today's.
        changed: layers whose digest is no longer the report's.
    """

    report: Report
    difference: Difference
    supports_equal: bool
    changed: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether everything came out as it was."""
        return self.difference.equal and not self.changed

    def __str__(self) -> str:
        drawn = "the supports drawn today are the saved ones"
        if not self.supports_equal:
            drawn = "the supports drawn today are NOT the saved ones"
        changed = f"; changed since: {', '.join(self.changed)}" if self.changed else ""
        return f"{self.difference}; {drawn}{changed}"


@dataclass(frozen=True)
class _Run:
    """One run of a report: a report that joins several stores has several."""

    config: Mapping[str, Any]
    supports: Mapping[str, Any]


def replay(report: Report, *, stores: Sequence[Path | str] = (), tolerance: float = TOLERANCE) -> Replay:
    """Repeat a report and compare it with itself.

    What heads, measures and searches give is the same to ``tolerance`` on any machine. Attribution trains networks:
    its numbers come out again on the machine that made them, see ``Attribution.run``.

    Args:
        report: of any protocol that is installed.
        stores: where the stores lie now, in the report's order, when not where they were.
        tolerance: the largest difference of a value that counts as equal.

    Raises:
        ReportError: of a protocol that is not installed, or without what a replay needs.
        OptionError: more stores than the report reads.
        StoreError: a store is gone.
    """
    protocol_class = _protocol_class(report.protocol)
    rows: list[Row] = []
    changed: list[str] = []
    same, confusion, given = True, None, list(stores)
    for run in _runs(report):
        recorded = stores_read(report, run.config)
        if not recorded:
            raise ReportError("the report does not say which stores it was made from; run the protocol again")
        paths = [given.pop(0) if given else _require_path(store.path) for store in recorded]
        opened = [FeatureStore(path) for path in paths]
        changed += [name for store, now in zip(recorded, opened, strict=True) for name in store.changes(now)]
        protocol = protocol_class.from_config(run.config).reading(paths[1:])
        replayed = protocol.replay(opened[0], run.supports)
        rows += _under_saved_names(replayed.report.rows, report, recorded, paths)
        same, confusion = same and replayed.supports_equal, replayed.report.confusion
    if given:
        raise OptionError(
            f"{len(stores)} stores are given, and the report reads {len(stores) - len(given)}; leave out --store"
        )
    joined = replace(report, rows=tuple(rows), confusion=confusion, provenance=provenance())
    return Replay(joined, report.compare(joined, tolerance=tolerance), same, tuple(dict.fromkeys(changed)))


def _protocol_class(name: str) -> type[Protocol]:
    try:
        found: type[Protocol] = PROTOCOLS.load(name)
    except UnknownNameError as error:
        raise ReportError(f"the report cannot be replayed: {error}") from error
    return found


def _runs(report: Report) -> list[_Run]:
    """Return the runs; supports of several stand one after another, each under its data set's name."""
    configs: Sequence[Mapping[str, Any]] = report.config.get("runs") or [report.config]
    if len(configs) == 1:
        return [_Run(configs[0], report.supports)]
    parts: dict[str, dict[str, Any]] = {}
    for key, listed in report.supports.items():
        title, _, trial = key.rpartition("|")
        parts.setdefault(title, {})[trial] = listed
    if len(parts) != len(configs):
        raise ReportError(
            f"the report has {len(configs)} runs and the supports of {len(parts)}; run the protocol again"
        )
    return [_Run(config, supports) for config, supports in zip(configs, parts.values(), strict=True)]


def _under_saved_names(
    rows: Sequence[Row], report: Report, recorded: Sequence[StoreRead], paths: Sequence[Path | str]
) -> Iterator[Row]:
    """Yield the rows under the data sets' names of the report: a store without names is called after its file."""
    known = {name for row in report.rows for name in row.dataset.split(ARROW)}
    renamed = {Path(path).stem: Path(old.path).stem for old, path in zip(recorded, paths, strict=True) if old.path}
    for row in rows:
        names = (name if name in known else renamed.get(name, name) for name in row.dataset.split(ARROW))
        yield replace(row, dataset=ARROW.join(names))


def _require_path(path: str | None) -> str:
    if path is None:
        raise ReportError("this report does not say where its store lies; name it with --store")
    return path
