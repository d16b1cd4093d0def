"""What a run of ``extract`` did, as JSON and in lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewshot.embeddings.pipeline.sealing import Outcome
from fewshot.embeddings.pipeline.settings import ComputeSettings
from fewshot.embeddings.pipeline.timing import Timing

_FAILURES_SHOWN = 10


@dataclass(frozen=True)
class Extraction:
    """What a run of ``extract`` did: the outcome, where the time went, and what ran it.

    Args:
        embedded: images that went through a network; batch_size: the smallest that memory allowed, 0 without any.
        left_out: what lay among the images and was not taken, in words -> how many.
        roots: the folders and tables that name the images.
    """

    outcome: Outcome
    embedded: int
    timing: Timing
    compute: ComputeSettings
    batch_size: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what was done as JSON values."""
        outcome, store = self.outcome, self.outcome.store
        return {
            "store": None if store is None else str(store.path),
            "digest": None if store is None else store.digest,
            "sealed": store is not None,
            "images": outcome.images,
            "rows": outcome.rows,
            "failures": dict(outcome.failures),
            "lacking": outcome.lacking,
            "left_out": dict(self.left_out),
            "embedded": self.embedded,
            "changed": outcome.changed,
            "notes": list(outcome.notes),
            "device": ",".join(self.compute.devices),
            "precision": self.compute.precision,
            "batch_size": self.batch_size,
            "workers": self.compute.workers,
            "seconds": {name: round(value, 3) for name, value in vars(self.timing).items()},
        }

    def summary(self) -> list[str]:
        """Return what was done in lines; the last one counts: images in = rows + failures."""
        outcome = self.outcome
        lines = [f"note: {note}" for note in outcome.notes]
        lines += [f"left out: {count} x {what}" for what, count in self.left_out.items()]
        lines += [f"failed: {key}: {reason}" for key, reason in list(outcome.failures.items())[:_FAILURES_SHOWN]]
        if len(outcome.failures) > _FAILURES_SHOWN:
            lines.append(f"... and {len(outcome.failures) - _FAILURES_SHOWN} more; `fewshot inspect` lists them all")
        lines += self._looked_in()
        if self.embedded:
            lines += [self.timing.split(), self.timing.advice(self.compute.workers)]
        if outcome.store is None:
            return [*lines, f"{outcome.images} images in; the store is not sealed yet"]
        lacking = f", {outcome.lacking} features lacking" if outcome.lacking else ""
        counts = f"{outcome.images} images in = {outcome.rows} rows + {len(outcome.failures)} failures{lacking}"
        what = "" if outcome.changed else " (nothing was added)"
        return [*lines, f"{outcome.store.path}: {counts}{what}"]

    def _looked_in(self) -> list[str]:
        """Return where files that are not there were looked for: beside a table, or in a folder."""
        if not any(reason.startswith("missing: there is no such file") for reason in self.outcome.failures.values()):
            return []
        folders = dict.fromkeys(str((root if root.is_dir() else root.parent).absolute()) for root in self.roots)
        return [f"files that are missing were looked for in {', '.join(folders)}"]
