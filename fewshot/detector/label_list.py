"""The list that a person fills in: images with an empty column for the label, and what the detector says of each."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot.core.files import write_bytes
from fewshot.core.outputs import FileKind
from fewshot.detector.judgement import Judgement
from fewshot.detector.spreadsheet_text import shown_path, shown_text

COLUMNS = ("path", "label", "source", "verdict", "score", "probability_low", "probability_high", "like", "unknown")


@dataclass(frozen=True)
class Suggestion:
    """One image to label.

    Args:
        file: where it lies; pixel_id: hash of its pixels.
        judgement: what the detector says of it.
        margin: how far its score is from the nearer threshold; 0 between the two.
    """

    file: Path
    pixel_id: str
    judgement: Judgement
    margin: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"path": str(self.file), "pixel_id": self.pixel_id, "margin": self.margin, **self.judgement.to_json()}


def _untouched(path: Path) -> bool:
    """Return whether nobody has filled in a label yet: the work of a person is never written over."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return not any((row.get("label") or "").strip() for row in csv.DictReader(stream))
    except (OSError, csv.Error):
        return False


LABEL_LIST = FileKind("an unfilled label list", ",".join(COLUMNS).encode(), holds=_untouched)


def write_list(chosen: Sequence[Suggestion], path: Path) -> Path:
    """Write images as a CSV whose columns ``label`` and ``source`` are empty; ``fit --add`` takes it filled in.

    Paths are relative to the list where an image lies below its folder, so that both can be moved together.

    Raises:
        OutputError: it cannot be written, or another file is there, a list with labels included.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    folder = path.expanduser().absolute().parent
    writer.writerows(_row(each, folder) for each in chosen)
    return write_bytes(path, stream.getvalue().encode("utf-8", "surrogateescape"), kind=LABEL_LIST)


def _row(chosen: Suggestion, folder: Path) -> list[str]:
    said = chosen.judgement
    low, high = said.probability
    return [
        _path(chosen.file, folder),
        "",
        "",
        said.verdict,
        f"{said.score:.6g}",
        f"{low:.4g}",
        f"{high:.4g}",
        shown_text(said.sources[0].source if said.sources else ""),
        "yes" if said.unknown else "no",
    ]


def _path(file: Path, folder: Path) -> str:
    written = str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)
    return shown_path(written)
