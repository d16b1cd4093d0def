"""What every layout is: a folder or table read as a fixed sequence of labelled samples."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fewshot.core.registry import Registry
from fewshot.core.regular_files import read_regular
from fewshot.embeddings.inputs.bounds import MAX_FILE_BYTES

LAYOUTS = Registry(group="fewshot.layouts", kind="layout")

# Class words in any case, as public releases use them (CNNDetection 0_real and 1_fake, GenImage nature and ai, WildFake
# Real); a folder of one of these names says the class of what is below it.
NATURAL_WORDS = frozenset({"0_real", "real", "nature", "natural", "authentic", "0"})
SYNTHETIC_WORDS = frozenset({"1_fake", "fake", "ai", "synthetic", "generated", "1"})
_TRUE = {"1", "1.0", "true", "yes"} | SYNTHETIC_WORDS
_FALSE = {"0", "0.0", "false", "no"} | NATURAL_WORDS


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


def label(value: Any) -> bool | None:
    """Return True = synthetic, False = natural, None when the value is neither.

    >>> label("1"), label(False), label("0_REAL"), label("maybe")
    (True, False, False, None)
    """
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None
