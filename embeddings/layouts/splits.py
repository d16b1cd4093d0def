"""Names of splits among folders and files: train, val, valid, validation and test are never taken for sources."""

from collections.abc import Sequence
from dataclasses import dataclass

SPLIT_WORDS = frozenset({"train", "val", "valid", "validation", "test"})


@dataclass(frozen=True)
class WithoutSplit:
    """Folder names without those that are split words, and the splits they named, in lower case and in order."""

    names: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def split(self) -> str:
        """The outermost split, empty when there is none."""
        return self.splits[0] if self.splits else ""


def without_splits(names: Sequence[str]) -> WithoutSplit:
    """Return folder names apart from split words of any case.

    >>> without_splits(["Train", "REAL", "camera"])
    WithoutSplit(names=('REAL', 'camera'), splits=('train',))
    """
    return WithoutSplit(
        tuple(name for name in names if not is_split(name)),
        tuple(dict.fromkeys(name.lower() for name in names if is_split(name))),
    )


def is_split(name: str) -> bool:
    """Return whether a folder's name is a split word, in any case."""
    return name.lower() in SPLIT_WORDS


def split_of_file(name: str) -> str:
    """Return the split that a shard's name begins with, empty when there is none.

    >>> split_of_file("train-00000-of-00002.parquet"), split_of_file("phone-000.tar")
    ('train', '')
    """
    word = name.partition(".")[0].replace("_", "-").partition("-")[0].lower()
    return word if word in SPLIT_WORDS else ""
