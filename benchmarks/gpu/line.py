"""One line of the table: what was measured, its figures, and whether it meets what was wanted."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Args:
        what: what was measured.
        figures: the numbers with their units in their names.
        wanted: the bound, in words; empty where there is none.
        met: whether the figures meet it; None where there is no bound, or where nothing was measured.
        skipped: why nothing was measured; empty when something was.
    """

    what: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    wanted: str = ""
    met: bool | None = None
    skipped: str = ""

    def to_json(self) -> str:
        """Return the line as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Line":
        """Return the line that ``to_json`` wrote."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.what:<44} skipped: {self.skipped}"
        verdict = {None: "", True: "  ok", False: "  MISSED"}[self.met]
        listed = ", ".join(f"{name} {_shown(value)}" for name, value in self.figures.items())
        return f"{self.what:<44} {listed}{f'  (wanted: {self.wanted})' if self.wanted else ''}{verdict}"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
