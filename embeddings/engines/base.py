"""What an engine is: it runs units of work, each into its own file; who runs which unit is its only choice."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fewshot.core.progress import Progress
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.inputs.views import PixelStep
from fewshot.embeddings.layouts.collection import Collection
from fewshot.embeddings.pipeline.forward import Device
from fewshot.embeddings.pipeline.ledger import PartsFolder
from fewshot.embeddings.pipeline.plan import Known, Unit


@dataclass
class Timing:
    """Where the time went, in seconds; those of workers are summed over workers."""

    read: float = 0.0
    decode: float = 0.0
    preprocess: float = 0.0
    forward: float = 0.0
    write: float = 0.0
    wall: float = 0.0
    start: float = 0.0

    def add(self, seconds: tuple[float, float, float]) -> None:
        """Count one image's reading, decoding and preprocessing."""
        self.read += seconds[0]
        self.decode += seconds[1]
        self.preprocess += seconds[2]

    def split(self) -> str:
        """Return where the time went, in words."""
        parts = {name: getattr(self, name) for name in ("read", "decode", "preprocess", "forward", "write")}
        listed = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items())
        return f"{self.wall:.1f} s after {self.start:.1f} s of start: {listed} (read to preprocess summed over workers)"

    def advice(self, workers: int) -> str:
        """Return one line on what would make it faster.

        Args:
            workers: decoding processes; 0 means that decoding and forward took turns.
        """
        before = self.read + self.decode + self.preprocess
        largest = max(("read", "decode", "preprocess"), key=lambda name: getattr(self, name))
        if before / max(workers, 1) > self.forward:
            return f"{largest}-bound: raise --workers (now {workers}), up to the number of processor cores"
        return "forward-bound: a GPU, a lighter backbone or fewer views would make it faster, more --workers would not"


@dataclass
class Workload:
    """Everything an engine needs to run units.

    Args:
        collection: the samples; keys: the sample list of the store, which unit positions refer to.
        index: key -> place in the collection.
        backbones: loaded backbones by card name.
        known: key -> what the store that is added to knows of it; reencode: done to every image first;
            decoder: one of ``decoders.DECODERS``.
        folder: where finished units go; roots: as the store will name them.
        workers: worker processes, 0 for none; strict: a failure is an error.
    """

    collection: Collection
    keys: Sequence[str]
    index: Mapping[str, int]
    backbones: Mapping[str, Backbone]
    device: Device
    known: Mapping[str, Known]
    reencode: tuple[PixelStep, ...]
    decoder: str
    folder: PartsFolder
    dtype: str
    workers: int
    strict: bool
    progress: Progress
    timing: Timing = field(default_factory=Timing)
    failed: int = 0

    @property
    def roots(self) -> tuple[Path, ...]:
        """The roots of the samples."""
        return self.collection.roots


class Engine(ABC):
    """Runs units of work."""

    name: str

    @abstractmethod
    def run(self, units: Sequence[Unit], workload: Workload) -> None:
        """Run every unit into the parts folder and record it there.

        Raises:
            FewshotError: a unit cannot be run; finished ones stay.
        """
