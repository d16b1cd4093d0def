"""Treasure, the data of Fleet: ``fake/<generator>/*`` and ``real/**``."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.tree import children, image_files

# ICTMCG/Fleet @ fab6b41 lists generators' folders by these suffixes; the natural support are names with ``cc12m``.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
SUPPORT_POOL = "cc12m"
NATURAL, SYNTHETIC = "real", "fake"


@final
class Treasure(Layout):
    """Fleet's ``fake/<generator>/*`` and ``real/**``: ``cc12m`` where a natural file's name holds it, else its folder.

    A natural image that lies directly in ``real/`` is of the source ``real``. Which generators the release holds (its
    card says 64) is not checked, as the release is gated and nobody has published the list.
    """

    name: ClassVar[str] = "treasure"

    def recognises(self, root: Path) -> bool:
        """Both class folders; the root must be called so, as people's own class folders share the tree."""
        return "treasure" in root.absolute().name.lower() and {child.name for child in children(root)} >= {
            NATURAL,
            SYNTHETIC,
        }

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside the tree is an error.

        What Fleet's own code would not read in a generator's folder, WebP for example, is left out and counted.
        """
        for path in image_files(root, ignored=self.ignored):
            parts = path.split("/")
            natural = parts[0] == NATURAL and len(parts) >= 2
            if not natural and (parts[0] != SYNTHETIC or len(parts) != 3):
                raise InputError(
                    f"{root}: {path!r} lies neither in fake/GENERATOR/ nor below real/; move it there, or choose "
                    f"--layout folder, which takes images at any depth"
                )
            suffix = PurePosixPath(path).suffix.lower()
            if not natural and suffix not in SUFFIXES:
                self.ignored[f"{suffix}: an image that Fleet's own code does not read"] += 1
                continue
            yield Sample(path, _natural_source(parts) if natural else parts[1], not natural, dataset="Treasure")


def _natural_source(parts: list[str]) -> str:
    """Return the collection of a natural image's path.

    >>> [_natural_source(path.split("/")) for path in ("real/a/CC12M_1.jpg", "real/coco/val/1.jpg", "real/1.jpg")]
    ['cc12m', 'coco', 'real']
    """
    if SUPPORT_POOL in parts[-1].lower():
        return SUPPORT_POOL
    return parts[1] if len(parts) > 2 else NATURAL
