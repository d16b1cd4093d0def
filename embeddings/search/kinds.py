"""Which kind of index: exact where it fits, and what the others need."""

from dataclasses import dataclass
from typing import Literal, get_args

from fewshot.core.errors import OptionError
from fewshot.core.memory import free_bytes

Kind = Literal["flat", "hnsw", "ivf-flat", "ivf-pq"]
KINDS: tuple[str, ...] = get_args(Kind)
AUTO = "auto"

EXACT_ROWS = 1_000_000  # up to here exact search is the default
HNSW_LINKS = 32  # M of Malkov and Yashunin 2018; each row keeps 2 M links on the ground layer, 4 bytes each
_HNSW_ROWS = 5_000_000  # beyond this, building the graph takes hours
_HIGH_RECALL = 0.98  # above this, inverted lists are read almost whole
PQ_DIMENSIONS = 8  # values per code byte
TRAINING_ROWS = 40  # per centroid; FAISS warns below 39
_LEAST_ROWS = {"ivf-flat": TRAINING_ROWS, "ivf-pq": 256 * TRAINING_ROWS}


@dataclass(frozen=True)
class Choice:
    """The kind of index in use, and why it can be trusted.

    Args:
        kind: what was built.
        reason: why, in words.
        effort: rows or lists looked at per query: efSearch of ``hnsw``, nprobe of the ``ivf`` kinds; 0 for ``flat``.
        recall: recall@10 against exact search on a sample of the rows; 1 by construction for ``flat``.
        sample: number of rows it was measured on; 0 for ``flat``.
    """

    kind: Kind
    reason: str
    effort: int = 0
    recall: float = 1.0
    sample: int = 0

    def __str__(self) -> str:
        if self.kind == "flat":
            return f"flat (exact): {self.reason}"
        return f"{self.kind}: {self.reason}; recall@10 {self.recall:.3f} against exact search on {self.sample} rows"


def index_bytes(kind: Kind, rows: int, dimension: int) -> int:
    """Return about how much memory an index takes."""
    vector, row_id = 4 * dimension, 8
    per_row = {
        "flat": vector,
        "hnsw": vector + 4 * 2 * HNSW_LINKS + row_id + 4 * HNSW_LINKS // 8,
        "ivf-flat": vector + 2 * row_id,
        "ivf-pq": pq_bytes(dimension) + row_id,
    }
    return rows * per_row[kind]


def pq_bytes(dimension: int) -> int:
    """Return the number of code bytes of a row: a divisor of the dimension, one byte for about 8 values."""
    wanted = max(1, dimension // PQ_DIMENSIONS)
    return next(parts for parts in range(wanted, 0, -1) if dimension % parts == 0)


def choose_kind(wanted: str, rows: int, dimension: int, *, recall: float, memory_bytes: int | None) -> Choice:
    """Return the kind to build; the one that was wanted, or the best that fits for ``auto``.

    Args:
        wanted: one of ``KINDS`` or ``auto``.
        recall: share of the true ten nearest that must be found, above 0 and at most 1.
        memory_bytes: what the index may take; half of the free memory when None.

    Raises:
        OptionError: no such kind, a recall that is not a share, or too few rows for product quantisation.
    """
    if not 0 < recall <= 1:
        raise OptionError(f"the wanted recall must lie above 0 and be at most 1, not {recall}")
    if wanted not in (*KINDS, AUTO):
        raise OptionError(f"there is no index {wanted!r}; choose one of {', '.join((*KINDS, AUTO))}")
    least = _LEAST_ROWS.get(wanted, 1)
    if rows < least:
        raise OptionError(f"{wanted} needs {least} rows to learn from, and there are {rows}; use --index flat")
    if wanted != AUTO:
        return Choice(wanted, "requested")  # type: ignore[arg-type]  # checked above
    room = free_bytes() // 2 if memory_bytes is None else memory_bytes
    return _automatic(rows, dimension, recall, room)


def _automatic(rows: int, dimension: int, recall: float, room: int) -> Choice:
    fits = {kind: index_bytes(kind, rows, dimension) <= room for kind in get_args(Kind)}
    size = f"{rows} rows of {dimension} values in {room / 2**30:.1f} GiB"
    if rows < _LEAST_ROWS["ivf-pq"] or (fits["flat"] and (rows <= EXACT_ROWS or recall == 1)):
        return Choice("flat", f"{size} are searched exactly")
    if recall == 1:
        needed = index_bytes("flat", rows, dimension) / 2**30
        raise OptionError(f"{size}: a recall of 1 needs exact search and {needed:.1f} GiB; lower the wanted recall")
    if fits["hnsw"] and rows <= _HNSW_ROWS and recall > _HIGH_RECALL:
        return Choice("hnsw", f"{size}, recall above {_HIGH_RECALL}")
    if fits["ivf-flat"]:
        return Choice("ivf-flat", f"{size} fit uncompressed")
    return Choice("ivf-pq", f"{size} fit only as codes; scores are read again from the store")
