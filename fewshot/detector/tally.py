"""What became of the images of a prediction: how many of each verdict, and which failed."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fewshot.detector.detector import BETWEEN
from fewshot.detector.judgement import Judged
from fewshot.detector.verdict import NATURAL, SYNTHETIC, UNSURE

FAILURES_KEPT = 10


@dataclass
class Tally:
    """What became of the images so far.

    Args:
        verdicts: verdict -> how many; unknown: images unlike all known ones; unstable: that re-encoding made unsure.
        failed: images that could not be judged; failures: the first of them, image -> reason.
        left_out: what lay in folders and was not taken, in words -> how many.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    unstable: int = 0
    failed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many in all."""
        return self.verdicts.total() + self.failed

    def add(self, judged: Judged) -> None:
        """Count one image."""
        said = judged.judgement
        if said is None:
            self.failed += 1
            if len(self.failures) < FAILURES_KEPT:
                self.failures[judged.image] = judged.failure
            return
        self.verdicts[said.verdict] += 1
        self.unknown += said.unknown
        self.unstable += said.verdict == UNSURE and said.reason != BETWEEN

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "images": self.images,
            **{verdict: self.verdicts[verdict] for verdict in (SYNTHETIC, NATURAL, UNSURE)},
            "failed": self.failed,
            "unknown": self.unknown,
            "unstable": self.unstable,
            "failures": dict(self.failures),
            "left_out": dict(self.left_out),
        }

    def failure_lines(self) -> list[str]:
        """Return the first failures, a line each, and how many more there are."""
        more = self.failed - len(self.failures)
        lines = [f"failed: {image}: {reason}" for image, reason in self.failures.items()]
        return [*lines, f"... and {more} more; the file of verdicts lists them all"] if more else lines

    def line(self) -> str:
        """Return the counts in a line: images in = verdicts + failures."""
        said = " + ".join(f"{self.verdicts[verdict]} {verdict}" for verdict in (SYNTHETIC, NATURAL, UNSURE))
        beside = [f"{self.unknown} unlike all known images"] if self.unknown else []
        beside += [f"{self.unstable} unsure because re-encoding changes the verdict"] if self.unstable else []
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return f"{images} = {said} + {self.failed} failed" + (f"; {', '.join(beside)}" if beside else "")
