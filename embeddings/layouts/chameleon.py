"""Chameleon: ``test/{0_real,1_fake}/*``."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.splits import is_split
from fewshot.embeddings.layouts.tree import children, image_files, split_folders

CLASSES = {"0_real": False, "1_fake": True}


@final
class Chameleon(Layout):
    """One source, ``chameleon``, for both classes."""

    name: ClassVar[str] = "chameleon"

    def recognises(self, root: Path) -> bool:
        """A split folder with both class folders in it; the root must be called so, as others share the tree."""
        return "chameleon" in root.absolute().name.lower() and any(
            {child.name.lower() for child in children(split)} >= set(CLASSES) for split in split_folders(root)
        )

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside the tree is an error."""
        for path in image_files(root, ignored=self.ignored):
            parts = path.split("/")
            if len(parts) != 3 or not is_split(parts[0]) or parts[1].lower() not in CLASSES:
                raise InputError(
                    f"{root}: {path!r} does not lie in test/{{0_real,1_fake}}/; move it, or choose another --layout"
                )
            yield Sample(path, "chameleon", CLASSES[parts[1].lower()], split=parts[0].lower(), dataset="Chameleon")
