"""The schema of a report file, declared once: what is read has passed it, and everything else may trust a report."""

import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fewshot.core.errors import ReportError
from fewshot.core.looked_for import why_unread
from fewshot.core.regular_files import read_regular

SCHEMA = 1
MOST_BYTES = 1 << 30  # of a report file; ten thousand draws of a thousand rows have a fifth of that
DIGEST = "digest"  # within the provenance: SHA-256 of the canonical JSON of everything else; older files have none
_HDF5 = b"\x89HDF\r\n\x1a\n"  # how a store begins (HDF5 file format specification, section II.A)

_Count = Annotated[int, Meta(ge=0, lt=1 << 53)]
_Value = Annotated[float, Meta(ge=-1e100, le=1e100)] | None  # null where a trial has no value
_Share = Annotated[float, Meta(gt=0, le=1)]


class RowEntry(Struct, frozen=True):
    """One row of a report file; see ``fewshot.results.row.Row``."""

    backbone: str
    layer: str
    selection: Literal["fixed", "support-cv", "oracle"]
    head: str
    dataset: str
    source: str
    metric: str
    n_support: _Count
    n_query: _Count
    values: Annotated[tuple[_Value, ...], Meta(min_length=1)]
    shots: _Count | None = None
    fraction: _Share | None = None
    view: str = "clean"
    choices: tuple[str, ...] = ()
    interval: tuple[_Value, _Value] | None = None
    n_natural: _Count | None = None
    interval_kind: Literal["two-way", "delong"] | None = None
    members: tuple[str, ...] = ()


class ConfusionEntry(Struct, frozen=True):
    """What each source was taken for: a square table of counts."""

    names: Annotated[list[str], Meta(min_length=1)]
    counts: list[list[_Count]]

    def __post_init__(self) -> None:
        if [len(row) for row in self.counts] != [len(self.names)] * len(self.names):
            raise ValueError(
                f"a confusion of {len(self.names)} sources that is not a table of as many rows and columns"
            )


class StoreEntry(Struct, frozen=True):
    """A store that the report was made from."""

    path: str | None
    layers: dict[str, str]


class ConfigEntry(Struct, frozen=True):
    """What is read of a configuration; the rest is the protocol's own, which checks it when it replays."""

    ddof: Literal[0, 1] = 1
    stores: list[StoreEntry] = []
    store: str | None = None
    view: Any = "clean"
    runs: list[dict[str, Any]] = []


class ProvenanceEntry(Struct, frozen=True):
    """What is read of how a report was made."""

    command: list[str] = []
    created: str = ""
    store: str | None = None
    layers: dict[str, str] = {}
    digest: str | None = None


class ReportEntry(Struct, frozen=True):
    """A report file."""

    protocol: str
    config: dict[str, Any]
    rows: list[RowEntry]
    supports: dict[str, list[str] | dict[str, Any]] = {}
    warnings: list[str] = []
    provenance: dict[str, Any] = {}
    confusion: ConfusionEntry | None = None


def read_document(path: Path | str) -> Any:
    """Return the JSON document of a report file.

    Raises:
        ReportError: no such file, not a regular one, too large, or not JSON.
    """
    try:
        content = read_regular(path, limit=MOST_BYTES)
    except OSError as error:
        raise ReportError(
            f"the report {path} cannot be read ({why_unread(path, error)}); name a file written by -o"
        ) from error
    if content.startswith(_HDF5):
        raise ReportError(
            f"{path} is a store of features, not a report; run `fewshot adapt {path} -o report.json`, then name that"
        )
    try:
        with _collector_paused():
            return msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not JSON ({error}); name a report written by `fewshot adapt -o`") from error


def checked(document: object) -> ReportEntry:
    """Return a report's JSON document as its schema declares it.

    Raises:
        ReportError: it is not a report, of another schema, was changed after it was written, or a field is missing, of
            another type or out of range; the message says which.
    """
    if not isinstance(document, Mapping) or "schema" not in document or "rows" not in document:
        raise ReportError("this JSON document is not a fewshot report; name a file written by -o REPORT.json")
    _require_schema(document["schema"])
    try:
        with _collector_paused():
            found = msgspec.convert(dict(document), ReportEntry)
        for config in (found.config, *msgspec.convert(found.config, ConfigEntry).runs):
            msgspec.convert(config, ConfigEntry)
        made = msgspec.convert(found.provenance, ProvenanceEntry)
    except (ValueError, TypeError, RecursionError) as error:
        raise ReportError(f"the report is damaged ({error}); run the protocol again") from error
    if made.digest is not None:
        _require_digest(document, made.digest)
    _require_sound(found.rows)
    return found


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the search for cycles, of which JSON has none: in millions of new objects it takes half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a report's canonical JSON: names in order, no blanks, and without the digest itself."""
    made = {name: value for name, value in document.get("provenance", {}).items() if name != DIGEST}
    text = msgspec.json.encode({**document, "provenance": made}, order="deterministic")
    return hashlib.sha256(text).hexdigest()


def _require_schema(schema: object) -> None:
    if type(schema) is not int or schema < 1:
        raise ReportError(f"the report's schema is {str(schema)[:40]!r}, not a number from 1; run the protocol again")
    if schema > SCHEMA:
        raise ReportError(
            f"the report has schema {schema}, and this fewshot reads up to {SCHEMA}; install a newer fewshot"
        )


def _require_digest(document: Mapping[str, Any], recorded: str) -> None:
    if digest_of(document) != recorded:
        raise ReportError(
            "the report is not as it was written: its content does not have the digest that its provenance records, so "
            "that the file is damaged or was edited; run the protocol again, or take `digest` out of its provenance to "
            "have an edited report read as it is"
        )


def _require_sound(rows: list[RowEntry]) -> None:
    """Refuse choices that are not one a trial, and two rows that are about the same and say different things."""
    seen: dict[tuple[Any, ...], RowEntry] = {}
    for number, row in enumerate(rows):
        if row.choices and len(row.choices) != len(row.values):
            raise ReportError(
                f"the report is damaged ({len(row.choices)} choices of {len(row.values)} trials - at "
                f"`$.rows[{number}].choices`); run the protocol again"
            )
        size = row.shots if row.fraction is None else row.fraction
        about = (row.backbone, row.layer, row.selection, row.head, row.dataset, row.source, size, row.view, row.metric)
        if seen.setdefault(about, row) != row:
            what = " / ".join(str(part) for part in about)
            raise ReportError(f"the report is damaged (two rows of {what} differ); run the protocol again")
