"""What an engine is: it runs the units of a plan, each into its own file; who runs which unit is its only choice."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from fewshot.core.registry import Registry
from fewshot.embeddings.embedder import ImagesDone
from fewshot.embeddings.pipeline.plan import Plan
from fewshot.embeddings.pipeline.timing import Timing
from fewshot.embeddings.pipeline.unit_result import UnitFile
from fewshot.embeddings.pipeline.units import Unit

ENGINES = Registry(group="fewshot.engines", kind="engine")


@dataclass(frozen=True)
class UnitDone:
    """One unit whose file is whole and lies in the plan's folder, not yet in any ledger.

    Args:
        unit: which; file: what was written.
        batch_size: images per batch, after whatever memory forced.
        timing: where the time went since the engine's last unit.
    """

    unit: Unit
    file: UnitFile
    batch_size: int
    timing: Timing


class Engine(ABC):
    """Runs units of work. A member keeps no ledger, no progress bar and no counter: its caller does, from its events.

    Units are idempotent: one that is run twice, here or by another process, gives the same file.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, plan: Plan, units: Sequence[Unit]) -> Iterator[UnitDone | ImagesDone]:
        """Yield each unit as it is done, in any order, and in between how many images went through.

        Closing the iterator ends what the engine started; units that were not yielded may be run again.

        Raises:
            OptionError: settings that this engine cannot follow, such as several devices.
            WeightsError: weights that do not fit the planned network.
            FewshotError: a unit cannot be run; those that were yielded stay.
        """
