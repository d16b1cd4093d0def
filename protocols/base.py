"""What every protocol is: a frozen dataclass whose fields are the whole configuration, run on a store."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from fewshot.core.errors import OptionError, ReportError
from fewshot.core.progress import Progress
from fewshot.core.registry import Registry
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.results.report import Report
from fewshot.results.scores import save_scores

PROTOCOLS = Registry(group="fewshot.protocols", kind="protocol")


@dataclass(frozen=True)
class RunContext:
    """How a protocol is run; nothing here changes a number.

    Args:
        quiet: show no progress.
        keep_scores: return the score of every image as well, not the measures alone.
        cache: folder where finished parts are kept, so that an interrupted run resumes; None keeps none. Protocols
            that finish in one go do not use it.
    """

    quiet: bool = True
    keep_scores: bool = False
    cache: Path | None = None

    def progress(self, total: int | None, *, label: str, unit: str) -> Progress:
        """Return the progress reporter of a run; it is silent in a quiet one."""
        return Progress(total, label=label, unit=unit, quiet=self.quiet)


QUIET = RunContext()


@dataclass(frozen=True)
class Result:
    """What a run gives back.

    Args:
        report: the measured rows.
        scores: arrays by name, as ``fewshot.results.scores`` names them; None unless the context asked for them.
    """

    report: Report
    scores: Mapping[str, NDArray[Any]] | None = None

    def save(self, path: Path) -> Path:
        """Write the report, and the scores (where there are some) beside it as ``.npz``.

        Raises:
            OutputError: a file cannot be written.
        """
        self.report.save(path)
        if self.scores is not None:
            save_scores(path.with_suffix(".npz"), self.scores)
        return path


@dataclass(frozen=True)
class Replayed:
    """A protocol run again for a saved report.

    Args:
        report: of the new run.
        supports_equal: whether supports drawn today are the saved ones.
    """

    report: Report
    supports_equal: bool


@dataclass(frozen=True)
class Protocol(ABC):
    """One published experiment. Members are frozen dataclasses; their fields are written into the report.

    A report's ``config`` holds ``to_config`` (names that were left to the store are filled in) and, as ``stores``,
    what was read of which store.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, store: FeatureStore, context: RunContext = QUIET) -> Result:
        """Run the experiment on a store.

        Raises:
            EpisodeError: too few images for the draw.
            UnknownNameError: a backbone, layer, head or column is not there.
        """

    def to_config(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the protocol of a report's configuration; what is not a field is passed over.

        Raises:
            ReportError: a value that no field takes.
        """
        known = {item.name for item in fields(cls)}
        given = {name: _frozen(value) for name, value in config.items() if name in known}
        try:
            return msgspec.convert(given, cls)
        except (ValueError, TypeError, RecursionError) as error:
            raise ReportError(f"the report's configuration cannot be used ({error}); run it again") from error

    def reading(self, others: Sequence[Path | str]) -> Self:
        """Return the same protocol with the stores that it reads besides the one it runs on, in the report's order.

        Raises:
            OptionError: there are some, and this protocol reads one store alone.
        """
        if others:
            raise OptionError(f"the protocol {self.name} reads one store, and {len(others)} more are given")
        return self

    def replay(self, store: FeatureStore, supports: Mapping[str, Any]) -> Replayed:
        """Run again for a report whose supports are known: draw them anew, and say whether they come out again.

        Args:
            store: what to run on.
            supports: those that the report holds.
        """
        report = Report.from_json(self.run(store).report.to_json())
        return Replayed(report, dict(report.supports) == dict(supports))


def _plain(value: Any) -> Any:
    """Return JSON values: lists of sequences, dictionaries of mappings."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _frozen(value: Any) -> Any:
    """Return what ``_plain`` was given: tuples for lists, also within dictionaries."""
    if isinstance(value, Mapping):
        return {name: _frozen(part) for name, part in value.items()}
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value
