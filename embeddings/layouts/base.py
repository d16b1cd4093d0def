"""What every layout is: a folder or table read as a fixed sequence of labelled samples."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fewshot.core.registry import Registry
from fewshot.core.regular_files import read_regular
from fewshot.embeddings.inputs.bounds import MAX_FILE_BYTES
from fewshot.embeddings.layouts.labels import UnlabelledRow

LAYOUTS = Registry(group="fewshot.layouts", kind="layout")
_REASONS = 50  # different reasons of left-out rows that are counted one by one


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image, before it is opened.

    Args:
        path: location relative to the root, with forward slashes.
        source: the generator's or the natural collection's name.
        synthetic: False = natural (0), True = synthetic (1).
        member: the name inside an archive, LMDB or Parquet file; empty for a plain file.
        split, dataset, category, group: optional; images that share a group must never stand on both sides.
        extra: whatever other columns a table had, as text.
    """

    path: str
    source: str
    synthetic: bool
    member: str = ""
    split: str = ""
    dataset: str = ""
    category: str = ""
    group: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The unique name of the sample in a store: path, and ``!`` with the member where there is one."""
        return f"{self.path}!{self.member}" if self.member else self.path


class Layout(ABC):
    """One way in which data sets lie on disk."""

    name: ClassVar[str]
    priority: ClassVar[int] = 50
    """``auto`` takes the recognising layout of the highest priority; two of the same are an error."""

    def __init__(self) -> None:
        self.ignored: Counter[str] = Counter()
        """What ``samples`` left out so far, in words -> how many; nothing is dropped without a word."""
        self.skip_unlabelled = False
        """Whether rows of neither class are left out and counted, instead of refused."""
        self.unlabelled: bool | None = None
        """Whether images that nothing labels are synthetic, where the user says so; None where that is an error."""

    @abstractmethod
    def recognises(self, root: Path) -> bool:
        """Return whether ``root`` looks like this layout; cheap, and true for at most what it can read."""

    @abstractmethod
    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield every sample in a fixed order.

        Raises:
            InputError: no image, an unknown label, one class only.
        """

    def read(self, root: Path, sample: Sample) -> bytes:
        """Return the encoded bytes of one sample's image file.

        Raises:
            OSError: it is missing, may not be read, is no regular file, or is larger than any image.
        """
        return read_regular(self.location(root, sample), limit=MAX_FILE_BYTES)

    def location(self, root: Path, sample: Sample) -> Path:
        """Return the file on disk that holds the sample: the image itself, or the archive it is a member of."""
        return root / sample.path

    def labelled(self, make: Callable[..., Sample], rows: Iterable[tuple[Any, ...]]) -> Iterator[Sample]:
        """Yield ``make(*row)`` of every row; one of neither class is left out and counted if that is allowed.

        Raises:
            UnlabelledRow: a row is of neither class, and ``skip_unlabelled`` is not set.
        """
        for row in rows:
            try:
                sample = make(*row)
            except UnlabelledRow as error:
                if not self.skip_unlabelled:
                    raise
                known = error.reason in self.ignored or len(self.ignored) < _REASONS
                self.ignored[error.reason if known else "rows with other labels of neither class"] += 1
                continue
            yield sample
