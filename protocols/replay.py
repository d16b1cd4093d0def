"""Run a report again from its own configuration and compare the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fewshot.core.errors import ReportError, StoreError
from fewshot.core.provenance import provenance
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.fiser import Fiser
from fewshot.results.report import Difference, Report, Row

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Replay:
    """A report run again.

    Args:
        difference: how far the numbers lie apart.
        supports_equal: whether the draw, made again, gives the saved supports; the numbers are of the saved ones.
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
        drawn = "of the saved supports" + ("" if self.supports_equal else ", which would be drawn OTHERWISE today")
        changed = f"; layers that have changed since: {', '.join(self.changed)}" if self.changed else ""
        return f"{self.difference}; {drawn}{changed}"


def replay(report: Report, *, stores: Sequence[Path | str] = (), tolerance: float = TOLERANCE) -> Replay:
    """Repeat a report from its saved supports and compare; the draw is made again as well, to see whether it still is.

    Args:
        report: a report of ``fewshot adapt``.
        stores: where the stores lie now, in the report's order, when not where they were.
        tolerance: the largest difference of a value that counts as equal.

    Raises:
        ReportError: of another protocol, or without what a replay needs.
        StoreError: a store is gone.
    """
    if report.protocol != Fiser.name:
        raise ReportError(f"only reports of `fewshot adapt` can be replayed, and this is of {report.protocol!r}")
    runs: Sequence[Mapping[str, Any]] = report.config.get("runs") or [report.config]
    saved = _saved(report, several=len(runs) > 1)
    if len(saved) != len(runs):
        raise ReportError(
            f"the report has {len(runs)} runs and the supports of {len(saved)}; run `fewshot adapt` again"
        )
    rows: list[Row] = []
    places, changed, same = list(stores), [], True
    for run, supports in zip(runs, saved, strict=True):
        if "stores" not in run:
            raise ReportError("the report does not say which stores it was made from; run `fewshot adapt` again")
        paths = [places.pop(0) if places else entry["path"] for entry in run["stores"]]
        query: dict[str, Any] = {"query": str(paths[1])} if len(paths) > 1 else {}
        protocol, opened = replace(_protocol(run), **query), FeatureStore(paths[0])
        rows += replace(protocol, support=supports).run(opened).rows
        same = same and (bool(protocol.support) or protocol.drawn(opened) == supports)
        changed += _changed(run, paths)
    joined = replace(report, rows=tuple(rows), provenance=provenance())
    return Replay(joined, report.compare(joined, tolerance=tolerance), same, tuple(changed))


def _saved(report: Report, *, several: bool) -> list[tuple[tuple[str, ...], ...]]:
    """Return the supports of every run; those of several stand one after another, each under its data set's name."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for key, listed in report.supports.items():
        found.setdefault(key.rpartition("|")[0] if several else "", []).append(tuple(listed))
    return [tuple(lists) for lists in found.values()]


def _protocol(config: Mapping[str, Any]) -> Fiser:
    known = {item.name for item in fields(Fiser)}
    given = {name: _frozen(value) for name, value in config.items() if name in known}
    try:
        return Fiser(**given)
    except TypeError as error:
        raise ReportError(f"the report's configuration cannot be used ({error}); run `fewshot adapt` again") from error


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


def _changed(run: Mapping[str, Any], paths: Sequence[Path | str]) -> list[str]:
    changed = []
    for entry, path in zip(run["stores"], paths, strict=True):
        store = FeatureStore(path)
        now = {f"{info.backbone}/{info.layer}": info.digest for info in store.layers if info.view == "clean"}
        for name, digest in entry["layers"].items():
            if name not in now:
                raise StoreError(f"{path} has no layer {name!r}, which the report was made from; embed it again")
            if now[name] != digest:
                changed.append(name)
    return changed
