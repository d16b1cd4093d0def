"""ForenSynths as CNNDetection released it: ``{train,val,test}/<generator>/[<class>/]{0_real,1_fake}/*``."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.splits import is_split
from fewshot.embeddings.layouts.tree import children, image_files, split_folders

CLASSES = {"0_real": False, "1_fake": True}
# PeterWang512/CNNDetection @ ea0b562, eval_config.py: ``multiclass`` and ``vals``. Other collections copy the tree.
WITH_CLASS_FOLDERS = frozenset({"progan", "stylegan", "stylegan2", "cyclegan"})
GENERATORS = WITH_CLASS_FOLDERS | {
    "biggan", "stargan", "gaugan", "crn", "imle", "seeingdark", "san", "deepfake", "whichfaceisreal",
}  # fmt: skip


@final
class Cnndet(Layout):
    """The source is the generator's folder, for natural images too; the class folder is the category."""

    name: ClassVar[str] = "cnndet"

    def recognises(self, root: Path) -> bool:
        """A split folder with a generator that holds both classes at once, or class folders where those are known."""
        return any(
            _holds_both(generator)
            or (generator.name.lower() in WITH_CLASS_FOLDERS and any(map(_holds_both, children(generator))))
            for split in split_folders(root)
            for generator in children(split)
        )

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside the classes' folders is an error."""
        for path in image_files(root, ignored=self.ignored):
            parts = path.split("/")
            if len(parts) not in (4, 5) or not is_split(parts[0]) or parts[-2].lower() not in CLASSES:
                raise InputError(
                    f"{root}: {path!r} does not lie in {{train,val,test}}/GENERATOR/[CLASS/]{{0_real,1_fake}}/; "
                    f"move it, or choose another --layout"
                )
            yield Sample(
                path=path,
                source=parts[1],
                synthetic=CLASSES[parts[-2].lower()],
                split=parts[0].lower(),
                dataset="ForenSynths" if parts[1].lower() in GENERATORS else "",
                category=parts[2] if len(parts) == 5 else "",
            )


def _holds_both(folder: Path) -> bool:
    return {child.name.lower() for child in children(folder)} >= set(CLASSES)
