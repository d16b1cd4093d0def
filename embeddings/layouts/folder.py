"""Class folders as people name them: ``root/natural/<source>/**`` and ``root/synthetic/<source>/**``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.splits import without_splits
from fewshot.embeddings.layouts.tree import class_level, class_words, image_files, left_out, meant_class_word


@final
class Folder(Layout):
    """Images below folders named by class words at any level.

    The source is the folder under the class word, else the folder above it, else ``natural`` or ``synthetic``. The
    deepest class word of a path counts, and two different ones in a path are an error. A folder named by a split is
    the split, wherever it stands, and never the source. An image below no class word is of the class that the user
    gives for such images (``unlabelled``), and of the source that the first folder names, else the root.
    """

    name: ClassVar[str] = "folder"
    priority: ClassVar[int] = 0

    def recognises(self, root: Path) -> bool:
        """Any folder may be one; only its samples show whether it is."""
        return root.is_dir()

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; an image below no class word is an error that lists what was seen."""
        found = False
        for path in image_files(root, ignored=self.ignored):
            found = True
            yield _sample(root, path, unlabelled=self.unlabelled)
        if not found:
            raise InputError(f"no image was found below {root}{left_out(self.ignored)}")


def _sample(root: Path, path: str, *, unlabelled: bool | None) -> Sample:
    folders = path.split("/")[:-1]
    without = without_splits(folders)
    found = class_level(without.names)
    if found is None and unlabelled is None:
        raise InputError(
            f"{root}: nothing says whether {path!r} is natural or synthetic; a folder above it must be named by a "
            f"class word ({class_words()}), and the folders seen are: {', '.join(folders) or 'none'}"
            f"{meant_class_word(folders) or '.'} Rename them, say with --unlabelled of which class all such images "
            f"are, or give a table with the columns path, source, synthetic"
        )
    level, synthetic = found or (-1, bool(unlabelled))
    words = [class_level([name]) for name in without.names]
    if {word[1] for word in words if word} == {True, False}:
        raise InputError(f"{root}: {path!r} lies below class words of both classes; rename one of {', '.join(folders)}")
    if len(without.splits) > 1:
        raise InputError(
            f"{root}: {path!r} lies below folders of several splits ({', '.join(without.splits)}); rename one of them, "
            f"or give a table with a column split"
        )
    source = _source(without.names, level, synthetic) if found else [*without.names, root.name][0]
    return Sample(path, source, synthetic, split=without.split)


def _source(parents: Sequence[str], level: int, synthetic: bool) -> str:
    if level + 1 < len(parents):
        return parents[level + 1]
    if level > 0:
        return parents[level - 1]
    return "synthetic" if synthetic else "natural"
