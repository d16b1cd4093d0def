"""GenImage as FSD divides it: six classes of generators and one pool of naturals for all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.tree import children, image_files

NATURAL = "real"
# teheperinko541/Few-Shot-AIGI-Detector @ 39ed162, train.py: the folders, and the naturals of SD v1.4 and v1.5 alone;
# which folders of GenImage make up SD is told by rampage-bruce/Few-Shot-AIGI-Detector @ e1898db, cp_data.py.
CLASSES = ("ADM", "BigGAN", "glide", "Midjourney", "SD", "VQDM")
_OWN = {name.lower(): name for name in (*CLASSES, NATURAL)}
_POOL = ("stable_diffusion_v_1_4", "stable_diffusion_v_1_5", "sdv4", "sdv5")
OF_FOLDER: Mapping[str, str] = MappingProxyType({**_OWN, **dict.fromkeys((*_POOL, "wukong"), "SD")})
# GenImage's val folders are its published test sets.
SPLITS = {"train": "train", "val": "test", "valid": "test", "validation": "test", "test": "test"}
_WORDS = {"nature": False, "ai": True}
_SUFFIX = "_imagenet"


@final
class GenimageFsd(Layout):
    """FSD's classes ADM, BigGAN, glide, Midjourney, SD, VQDM and one pool ``real``, arranged by it or as GenImage is.

    FSD's arrangement is ``<class>/{train,val}/*``, or with the further folder that torchvision's ``ImageFolder`` needs
    (``ADM/val/ai/*``, ``real/val/nature/*``). In GenImage's own tree, SD v1.4, SD v1.5 and Wukong are read as SD, the
    naturals of SD v1.4 and v1.5 as ``real``, and the naturals of the other generators are left out and counted. The
    category is the folder of GenImage, so that the three parts of SD stay apart.
    """

    name: ClassVar[str] = "genimage-fsd"
    priority: ClassVar[int] = 60  # GenImage with a pool ``real`` is this; without one, ``genimage``

    def recognises(self, root: Path) -> bool:
        """The pool ``real`` beside at least one of the classes, each with a folder of a split."""
        found = {child.name.lower() for child in children(root) if _split_below(child)}
        return NATURAL in found and bool(found & {name.lower() for name in CLASSES})

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside these trees is an error."""
        for path in image_files(root, ignored=self.ignored):
            found = _read(path.split("/"))
            if found is None:
                raise InputError(
                    f"{root}: {path!r} lies neither in CLASS/{{train,val}}/ with a class of {', '.join(_OWN.values())} "
                    f"nor in GENERATOR/{{train,val}}/{{ai,nature}}/ of GenImage; move it, or choose another --layout"
                )
            source = found.source(path, root)
            if source is None:
                self.ignored[f"a natural image of {found.folder}: FSD takes those of SD v1.4 and v1.5"] += 1
                continue
            yield Sample(
                path, source, source != NATURAL, split=found.split, dataset="GenImage-FSD", category=found.folder
            )


@dataclass(frozen=True)
class _Location:
    """What a path says: GenImage's folder, the split, and the word for the class where there is one."""

    folder: str
    split: str
    synthetic: bool | None

    def source(self, path: str, root: Path) -> str | None:
        """Return the class, None for a natural image that is not in the pool."""
        of_class = OF_FOLDER[self.folder.lower()]
        if self.synthetic is not False:
            if of_class == NATURAL and self.synthetic:
                raise InputError(
                    f"{root}: {path!r} lies in the pool of natural images and below a folder 'ai'; move it to its class"
                )
            return of_class
        return NATURAL if of_class == NATURAL or self.folder.lower() in _POOL else None


def _read(parts: list[str]) -> _Location | None:
    """Return what a path says, None when it fits none of the trees."""
    if parts[0].lower() == "test" and len(parts) == 4 and parts[1].endswith(_SUFFIX):  # GenImage's test sets
        parts = [parts[1].removesuffix(_SUFFIX), *parts[:1], *parts[2:]]
    elif parts[0].lower() == "test":  # FSD's own page puts the classes below ``GenImage/test``
        parts = parts[1:]
    if len(parts) < 3 or parts[0].lower() not in OF_FOLDER:
        return None
    between = 2 if len(parts) > 4 and parts[1].lower() not in SPLITS else 1  # archives unpack with one more folder
    split, *below = (part.lower() for part in parts[between:-1])
    if split not in SPLITS or len(below) > 1 or (below and below[0] not in _WORDS):
        return None
    if not below and parts[0].lower() not in _OWN:  # GenImage's own folders hold both classes
        return None
    return _Location(parts[0], SPLITS[split], _WORDS[below[0]] if below else None)


def _split_below(folder: Path) -> bool:
    return any(child.name.lower() in SPLITS for child in children(folder))
