"""AIGenImages2026: generated images alone, ``{train,val}/1_fake/[<generator>/]*``, with a table of their captions."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.delimited import csv_rows
from fewshot.embeddings.layouts.splits import is_split
from fewshot.embeddings.layouts.tree import children, image_files, split_folders

CLASSES = {"0_real": False, "1_fake": True}
METADATA = "fake_metadata.csv"
_COLUMNS = ("filename", "caption_id")
# Beginnings of file names in the archive, as people who unpacked it report them; those of the other 12 are not known.
GENERATORS: Mapping[str, str] = MappingProxyType(
    {
        "fal-ai_reve_text-to-image_": "Reve Image 1.0",
        "fal-ai_hidream-i1-dev_": "HiDream I1 Dev",
        "fal-ai_ideogram_v3_": "Ideogram 3",
        "image_midjourneyv7_": "Midjourney v7",
        "Firefly_": "Adobe Firefly Image 5",
        "fal-ai_z-image_turbo_": "Z Image Turbo",
        "fal-ai_gemini-3-pro-image-preview_": "Gemini 3 Pro Image",
    }
)
_NUMBERED = re.compile(r"(?P<generator>.*[^_\d-].*?)[_-]+\d+")


@final
class Aigenimages2026(Layout):
    """The source is the folder below ``1_fake``, else what the file's name begins with; one caption is one group.

    Known of the release (pthan12/AIGenImages2026, arXiv 2605.02567): one archive of 4,879 images for training and 559
    for testing, in ``{train,val}/1_fake/``, 19 generators that only the files' names tell, and a ``fake_metadata.csv``
    with ``filename``, ``caption`` and ``caption_id``. Not known: the beginnings of names of 12 generators (their source
    is the name without its number), and the generators' order of release, which no file says; so no column of dates is
    made up. Compare the list of sources with the 19 of the card (``--expect-sources``).

    There are no natural images in it: give a second ROOT with yours, or ``--one-class``. A ``0_real`` folder of pairs
    that somebody added is read as natural.
    """

    name: ClassVar[str] = "aigenimages2026"
    priority: ClassVar[int] = 60  # with class folders in a split it looks like ForenSynths; only the name tells

    def recognises(self, root: Path) -> bool:
        """A split with ``1_fake`` in it; the root must be called so, as others share the tree."""
        return "aigenimages" in root.absolute().name.lower() and any(
            "1_fake" in {child.name.lower() for child in children(split)} for split in split_folders(root)
        )

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the images in sorted order; one outside the tree, or whose name tells no generator, is an error."""
        captions = _captions(root, self.ignored)
        for path in image_files(root, ignored=self.ignored):
            parts = path.split("/")
            if len(parts) not in (3, 4) or not is_split(parts[0]) or parts[1].lower() not in CLASSES:
                raise InputError(
                    f"{root}: {path!r} does not lie in {{train,val}}/1_fake/; name the folder AIGenImages2026 that "
                    f"holds train and val (the archive unpacks into folders above it), or choose another --layout"
                )
            synthetic = CLASSES[parts[1].lower()]
            yield Sample(
                path,
                _source(root, path, parts, synthetic),
                synthetic,
                split=parts[0].lower(),
                dataset="AIGenImages2026",
                group=captions.get(parts[-1], ""),
            )


def _source(root: Path, path: str, parts: list[str], synthetic: bool) -> str:
    if len(parts) == 4:
        return parts[2]
    if not synthetic:
        return "real"
    known = next((name for beginning, name in GENERATORS.items() if parts[-1].startswith(beginning)), None)
    numbered = _NUMBERED.fullmatch(parts[-1].rpartition(".")[0])
    if known is None and numbered is None:
        raise InputError(
            f"{root}: the name of {path!r} does not tell its generator (wanted NAME_NUMBER, or one of the beginnings "
            f"{', '.join(GENERATORS)}); move the images of each generator into 1_fake/GENERATOR/, or give a table with "
            f"the columns path, source, synthetic"
        )
    return known or (numbered["generator"] if numbered else "")


def _captions(root: Path, ignored: Counter[str]) -> dict[str, str]:
    """Return file name -> group of the images that were made from one caption, {} without the release's table.

    Raises:
        InputError: the table cannot be read, or lacks a column.
    """
    file = root / METADATA
    if not file.is_file():
        return {}
    groups = {}
    try:
        for _, row in csv_rows(file, fits=lambda header: set(_COLUMNS) <= set(header), ignored=ignored):
            if missing := [name for name in _COLUMNS if name not in row]:
                raise InputError(
                    f"{file} has no column {', '.join(missing)}, only {', '.join(row)}; put the release's own file "
                    f"there, or take it away, and images of one caption will not be kept together"
                )
            if row["caption_id"]:
                groups[row["filename"].replace("\\", "/").rpartition("/")[2]] = f"caption {row['caption_id']}"
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{file} cannot be read ({error}); repair it, or take it away") from error
    return groups
