"""Tables that a person filled in: which images they label, and how many rows were left empty."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.core.files import write_bytes
from fewshot.core.looked_for import why_unread
from fewshot.core.path_names import path_name
from fewshot.embeddings.layouts.delimited import csv_rows
from fewshot.embeddings.layouts.labels import label, shortened
from fewshot.embeddings.layouts.names import require_source, require_text

SUFFIXES = (".csv", ".tsv")
LABELS = ("label", "synthetic")  # columns of either name hold the class
_WANTED = "write natural or synthetic (or 0 or 1), or leave it empty to leave the image out"


@dataclass(frozen=True)
class LabelledTable:
    """What a table says.

    Args:
        rows: (path, source, synthetic) of each labelled image; paths are absolute.
        skipped: how many rows have no label.
    """

    rows: tuple[tuple[str, str, bool], ...]
    skipped: int

    def written(self, folder: Path, *, name: str) -> Path:
        """Write the labelled rows as a table of their own into a folder, under a name that follows from them."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "source", "synthetic"])
        writer.writerows((path, source, int(synthetic)) for path, source, synthetic in self.rows)
        content = stream.getvalue().encode("utf-8", "surrogateescape")
        return write_bytes(folder / f"{path_name(name)}-{hashlib.sha256(content).hexdigest()[:16]}.csv", content)


def read_labels(file: Path) -> LabelledTable:
    """Read a CSV with the columns ``path`` and ``label`` (or ``synthetic``), and ``source`` where it has one.

    Paths are absolute, or relative to the table. A source that is left empty is called ``natural`` or ``synthetic``.

    Raises:
        InputError: no such table or columns, a label that is neither class, or no label at all.
    """
    rows: list[tuple[str, str, bool]] = []
    skipped = 0
    folder = file.expanduser().absolute().parent
    try:
        for number, row in csv_rows(file, fits=_fits, ignored=Counter()):
            where = f"{file}, row {number}"
            written = _label_of(row, where)
            if not written:
                skipped += 1
                continue
            rows.append(_row(row, written, where, folder))
    except (OSError, ValueError, csv.Error) as error:
        reason = why_unread(file, error) if isinstance(error, OSError) else str(error)
        raise InputError(f"the table {file} cannot be read ({reason}); repair it or name another") from error
    if not rows:
        raise InputError(f"{file} labels no image ({skipped} rows have no label); in the column label {_WANTED}")
    return LabelledTable(tuple(rows), skipped)


def _fits(header: Sequence[str]) -> bool:
    return "path" in header and any(name in header for name in LABELS)


def _missing(header: Sequence[str]) -> list[str]:
    path = [] if "path" in header else ["path"]
    return path if any(name in header for name in LABELS) else [*path, "label"]


def _label_of(row: dict[str, str], where: str) -> str:
    if not _fits(list(row)):
        raise InputError(
            f"{where}: wanted the columns path and label, found {', '.join(row)}; missing "
            f"{' and '.join(_missing(list(row)))}; name them so"
        )
    given = {row[name].strip() for name in LABELS if name in row} - {""}
    if len(given) > 1:
        raise InputError(f"{where}: label and synthetic both say something; keep one of the two columns")
    return next(iter(given), "")


def _row(row: dict[str, str], written: str, where: str, folder: Path) -> tuple[str, str, bool]:
    synthetic = label(written)
    if synthetic is None:
        raise InputError(f"{where}: the label {shortened(written)} is neither class; {_WANTED}")
    if not row["path"]:
        raise InputError(f"{where}: the path is empty; name the image's file")
    require_text(row["path"], where=f"{where}: the path")
    source = row.get("source", "").strip() or ("synthetic" if synthetic else "natural")
    require_source(source, where=where)
    return str(folder / row["path"]), source, synthetic
