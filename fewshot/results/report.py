"""Reports: one value per trial for every measure, with everything needed to run it again."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fewshot.core.errors import ReportError
from fewshot.core.files import write_bytes
from fewshot.core.outputs import REPORT
from fewshot.results.legacy_names import entry_of_today, head_of_today
from fewshot.results.presentation import as_html, as_text, ranked_text
from fewshot.results.ranked_table import ranked_table
from fewshot.results.report_file import DIGEST, SCHEMA, RowEntry, checked, digest_of, read_document
from fewshot.results.row import Row as Row
from fewshot.results.row import Selection as Selection
from fewshot.results.tables import report_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Difference:
    """How far two runs of the same rows lie apart.

    Args:
        rows: number of rows that both have.
        largest: largest absolute difference of any number; infinite when they are not equally many (trials, interval).
        where: the key of the row with the largest difference.
        missing: keys that only one of the two has.
        tolerance: the difference allowed.
    """

    rows: int
    largest: float
    where: tuple[Any, ...]
    missing: tuple[tuple[Any, ...], ...]
    tolerance: float

    @property
    def equal(self) -> bool:
        """Whether both have the same rows, within the tolerance."""
        return self.rows > 0 and not self.missing and self.largest <= self.tolerance

    def __str__(self) -> str:
        verdict = "equal" if self.equal else "DIFFERENT"
        where = f" at {' / '.join(map(str, self.where))}" if self.largest > 0 else ""
        missing = f"; {len(self.missing)} rows are in one report only" if self.missing else ""
        return (
            f"{verdict}: {self.rows} rows compared, largest difference {self.largest:.3g}{where} "
            f"(tolerance {self.tolerance:g}){missing}"
        )


@dataclass(frozen=True)
class Confusion:
    """What each source was taken for.

    Args:
        names: the sources.
        counts: one tuple of counts per true source, in the order of ``names``.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Report:
    """The result of one protocol run; ``supports`` and ``config`` are enough to replay it.

    >>> row = Row("npr", "pooled", "fixed", "svm", "toy", "all", "auroc", 20, 80, (0.5, 0.75), shots=10)
    >>> print(Report("fiser", {}, (row,)))
    npr + svm, 10 shots: AUROC 0.62; 2 draws landed between 0.50 and 0.75
    <BLANKLINE>
    backbone  head  shots  AUROC range   mean  95 % interval   n
    npr       svm      10  0.500-0.750  0.625            n/a  80
    """

    protocol: str
    config: Mapping[str, Any]
    rows: tuple[Row, ...]
    supports: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    confusion: Confusion | None = None

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return as_html(self)

    def summary(self) -> "pd.DataFrame":
        """Return a frame with one line per row: its key, ``trials, mean, sd, low, high, p5, p95``."""
        import pandas as pd

        return pd.DataFrame(self.summary_entries())

    def summary_entries(self) -> list[dict[str, Any]]:
        """Return one entry per row: its key, ``trials, mean, sd, low, high, p5, p95``."""
        ddof = int(self.config.get("ddof", 1))
        return [{**_keys(row), **asdict(row.summary(ddof=ddof))} for row in self.rows]

    def where(self, **wanted: Any) -> tuple[Row, ...]:
        """Return the rows whose fields have the given values, for example ``where(metric="auroc", source="all")``."""
        return tuple(row for row in self.rows if all(getattr(row, name) == value for name, value in wanted.items()))

    def table(self, metrics: Sequence[str] | None = None, *, full: bool = False) -> str:
        """Return the answer in a sentence, the ranking behind it and the warnings, within 100 columns.

        Args:
            metrics: the measure that is ranked by, and those shown by their mean; None for the leading one.
            full: show every setting, generators and all, however wide; ``metrics`` None then shows all measures.
        """
        if full:
            return as_text(self, report_table(self.rows, metrics, ddof=int(self.config.get("ddof", 1))))
        return as_text(self, ranked_text(ranked_table(self, metrics), more="table(full=True)"))

    def compare(self, other: Self, *, tolerance: float = 0.0) -> Difference:
        """Compare the numbers of two runs row by row: values, intervals, counts, and the confusion; NaN equals NaN."""
        mine, theirs = ({row.key: row for row in report.rows} for report in (self, other))
        shared = [key for key in mine if key in theirs]
        gaps = {key: _gap(_numbers(mine[key]), _numbers(theirs[key])) for key in shared}
        if self.confusion != other.confusion:
            gaps["confusion",] = float("inf")
        where = max(gaps, key=gaps.__getitem__, default=())
        missing = tuple([key for key in mine if key not in theirs] + [key for key in theirs if key not in mine])
        return Difference(len(shared), gaps.get(where, 0.0), where, missing, tolerance)

    def to_json(self) -> dict[str, Any]:
        """Return the report in the schema of its file: plain JSON values, NaN as null."""
        document = {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "config": dict(self.config),
            "rows": [_row_to_json(row) for row in self.rows],
            "summary": self.summary_entries(),
            "supports": dict(self.supports),
            "warnings": list(self.warnings),
            "provenance": dict(self.provenance),
            **({} if self.confusion is None else {"confusion": asdict(self.confusion)}),
        }
        cleaned: dict[str, Any] = _without_nan(document)
        return cleaned

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the report of a JSON document.

        Raises:
            ReportError: it is not a report, of another schema, changed after it was written, or damaged.
        """
        found = checked(document)
        return cls(
            protocol=found.protocol,
            config=found.config,
            rows=tuple(_row_of(entry) for entry in found.rows),
            supports={entry_of_today(name): entry for name, entry in found.supports.items()},
            warnings=tuple(found.warnings),
            provenance={name: value for name, value in found.provenance.items() if name != DIGEST},
            confusion=None
            if found.confusion is None
            else Confusion(tuple(found.confusion.names), tuple(map(tuple, found.confusion.counts))),
        )

    def to_file_json(self) -> dict[str, Any]:
        """Return what the report's file holds: ``to_json``, with a digest of it among the provenance."""
        document = self.to_json()
        document["provenance"][DIGEST] = digest_of(document)
        return document

    def to_bytes(self) -> bytes:
        """Return the content of the report's file."""
        return (json.dumps(self.to_file_json(), indent=1, allow_nan=False) + "\n").encode("utf-8")

    def save(self, path: Path | str) -> Path:
        """Write the report as JSON, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        return write_bytes(path, self.to_bytes(), kind=REPORT)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a report file.

        Raises:
            ReportError: no such file, not JSON, not a report, damaged, or changed after it was written.
        """
        document = read_document(path)
        try:
            return cls.from_json(document)
        except ReportError as error:
            raise ReportError(f"{path}: {error}") from error


def _keys(row: Row) -> dict[str, Any]:
    keys = {item.name: getattr(row, item.name) for item in fields(row)}
    del keys["values"], keys["choices"], keys["interval"], keys["interval_kind"], keys["members"]
    del keys["fraction" if row.fraction is None else "shots"]
    if row.n_natural is None:
        del keys["n_natural"]
    return keys


def _row_to_json(row: Row) -> dict[str, Any]:
    chosen = {"choices": list(row.choices)} if row.choices else {}
    interval = {"interval": list(row.interval)} if row.interval else {}
    kind = {"interval_kind": row.interval_kind} if row.interval_kind else {}
    members = {"members": list(row.members)} if row.members else {}
    return {**_keys(row), "values": list(row.values), **chosen, **interval, **kind, **members}


def _row_of(entry: RowEntry) -> Row:
    return Row(
        backbone=entry.backbone,
        layer=entry.layer,
        selection=entry.selection,
        head=head_of_today(entry.head),
        dataset=entry.dataset,
        source=entry.source,
        metric=entry.metric,
        n_support=entry.n_support,
        n_query=entry.n_query,
        values=tuple(map(_number, entry.values)),
        shots=entry.shots,
        fraction=entry.fraction,
        view=entry.view,
        choices=entry.choices,
        interval=None if entry.interval is None else (_number(entry.interval[0]), _number(entry.interval[1])),
        n_natural=entry.n_natural,
        interval_kind=entry.interval_kind,
        members=entry.members,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, Mapping):
        return {_encodable(str(name)): _without_nan(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return _plain(value)


def _encodable(text: str) -> str:
    """Return a text as it is, or with its lone surrogates (bytes of a path that are not UTF-8) written as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    item: Callable[[], Any] | None = getattr(value, "item", None)
    return item() if callable(item) else value


def _numbers(row: Row) -> tuple[float, ...]:
    return (*row.values, row.n_support, row.n_query, *(row.interval or ()))


def _gap(mine: Sequence[float], theirs: Sequence[float]) -> float:
    if len(mine) != len(theirs):
        return float("inf")
    gaps = [0.0]
    for left, right in zip(mine, theirs, strict=True):
        if math.isnan(left) and math.isnan(right):
            continue
        gap = abs(left - right)
        gaps.append(float("inf") if math.isnan(gap) else gap)
    return max(gaps)
