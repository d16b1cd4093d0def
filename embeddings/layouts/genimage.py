"""GenImage: ``<generator>/{train,val}/{ai,nature}``, or test sets as ``test/<name>_imagenet/{nature,ai}``."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.splits import is_split
from fewshot.embeddings.layouts.tree import children, image_files, split_folders

CLASSES = {"nature": False, "ai": True}
# The val folders are the published test sets, whatever their copies call them.
SPLITS = {"train": "train", "val": "test", "valid": "test", "validation": "test", "test": "test"}
_SUFFIX = "_imagenet"


@final
class Genimage(Layout):
    """The source is the generator. One folder between generator and split, as some archives unpack, is accepted."""

    name: ClassVar[str] = "genimage"

    def recognises(self, root: Path) -> bool:
        """A generator with ``train`` or ``val`` over ``ai`` or ``nature``, or ``test/<name>_imagenet``."""
        tests = [split for split in split_folders(root) if split.name.lower() == "test"]
        test_sets = any(folder.name.endswith(_SUFFIX) for test in tests for folder in children(test))
        return test_sets or any(
            split.name.lower() in ("train", "val", "valid", "validation")
            and {child.name.lower() for child in children(split)} & set(CLASSES)
            for generator in children(root)
            if not is_split(generator.name)
            for inner in (generator, *children(generator))
            for split in children(inner)
        )

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside these trees is an error."""
        for path in image_files(root, ignored=self.ignored):
            parts = path.split("/")
            found = _generator_and_split(parts)
            if found is None:
                raise InputError(
                    f"{root}: {path!r} lies neither in GENERATOR/{{train,val}}/{{ai,nature}}/ nor in "
                    f"test/NAME_imagenet/{{ai,nature}}/; move it, or choose another --layout"
                )
            generator, split = found
            yield Sample(path, generator, CLASSES[parts[-2].lower()], split=split, dataset="GenImage")


def _generator_and_split(parts: list[str]) -> tuple[str, str] | None:
    """Return (generator, split) of a path, None when it fits neither tree."""
    if len(parts) < 4 or parts[-2].lower() not in CLASSES:
        return None
    if len(parts) == 4 and parts[0].lower() == "test" and parts[1].endswith(_SUFFIX):
        return parts[1].removesuffix(_SUFFIX), "test"
    if len(parts) in (4, 5) and parts[-3].lower() in SPLITS and not is_split(parts[0]):
        return parts[0], SPLITS[parts[-3].lower()]
    return None
