"""AIGIBench: ``test/<METHOD>/<VARIANT>/{0_real,1_fake}/*``; the outer folder is the method."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.splits import is_split
from fewshot.embeddings.layouts.tree import children, image_files, split_folders

CLASSES = {"0_real": False, "1_fake": True}
_FORENSYNTHS = frozenset({"progan", "stylegan", "stylegan2", "cyclegan"})  # there the inner folder is a class


@final
class Aigibench(Layout):
    """The source is the method, for natural images too; the variant is the category."""

    name: ClassVar[str] = "aigibench"

    def recognises(self, root: Path) -> bool:
        """A split folder whose methods all hold variants, other than ForenSynths' class folders."""
        methods = [
            method
            for split in split_folders(root)
            for method in children(split)
            if method.name.lower() not in _FORENSYNTHS
        ]
        return bool(methods) and all(
            any({child.name.lower() for child in children(variant)} & set(CLASSES) for variant in children(method))
            for method in methods
        )

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside the tree is an error."""
        for path in image_files(root, ignored=self.ignored):
            parts = path.split("/")
            if len(parts) != 5 or not is_split(parts[0]) or parts[3].lower() not in CLASSES:
                raise InputError(
                    f"{root}: {path!r} does not lie in test/METHOD/VARIANT/{{0_real,1_fake}}/; move it, or choose "
                    f"another --layout"
                )
            yield Sample(
                path,
                parts[1],
                CLASSES[parts[3].lower()],
                split=parts[0].lower(),
                dataset="AIGIBench",
                category=parts[2],
            )
