"""WildFake: images under ``Images/{Real,GAN_based,Diffusion_based,Other_based}``, membership from its list files."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.delimited import MAX_BYTES, bounded_lines, csv_rows, text_of
from fewshot.embeddings.layouts.names import require_text
from fewshot.embeddings.layouts.splits import SPLIT_WORDS
from fewshot.embeddings.layouts.tree import children

CLASSES = {"Real": False, "GAN_based": True, "Diffusion_based": True, "Other_based": True}
SPLITS = ("train", "val", "valid", "validation", "test")
SUFFIXES = (".jsonl", ".json", ".csv", ".txt")
_WHOLE_BYTES = 256 << 20
_PATH_FIELDS = ("path", "image", "image_path", "img_path", "file", "file_name", "filename")


@final
class Wildfake(Layout):
    """The source is the folder that holds the images, the deepest one; splits come from the lists and nowhere else."""

    name: ClassVar[str] = "wildfake"

    def recognises(self, root: Path) -> bool:
        """An ``Images`` folder with at least one of the four class folders."""
        return bool({child.name for child in children(root / "Images")} & set(CLASSES))

    def samples(self, root: Path) -> Iterator[Sample]:
        """Yield the listed images in the lists' order; no list is an error, for no split is ever invented."""
        lists = _lists(root)
        if not lists:
            wanted = f"train{{{','.join(SUFFIXES)}}} or test{{{','.join(SUFFIXES)}}}"
            raise InputError(
                f"{root} has no list of the split ({wanted}); put WildFake's own lists there, or give a table"
            )
        for split, file in lists:
            for path in _paths(file, self.ignored):
                yield _sample(file, split, path)


def _lists(root: Path) -> list[tuple[str, Path]]:
    """Return (split, list file) in the order of the splits; two lists of one split are an error."""
    found: dict[str, Path] = {}
    for file in sorted(root.iterdir()):
        split, suffix = file.stem.lower(), file.suffix.lower()
        if split not in SPLIT_WORDS or suffix not in SUFFIXES:
            continue
        if split in found:
            raise InputError(
                f"{root} has two lists of the split {split}, {found[split].name} and {file.name}; keep one"
            )
        found[split] = file
    return [(split, found[split]) for split in SPLITS if split in found]


def _sample(file: Path, split: str, path: str) -> Sample:
    parts = path.removeprefix("./").removeprefix("Images/").split("/")
    if parts[0] not in CLASSES or len(parts) < 2 or ".." in parts:
        raise InputError(
            f"{file}: {path[:200]!r} does not begin with one of {', '.join(CLASSES)}; paths must be relative to Images/"
        )
    return Sample(
        path="/".join(["Images", *parts]),
        source=parts[-2],
        synthetic=CLASSES[parts[0]],
        split=split,
        dataset="WildFake",
        category=parts[0],
    )


def _paths(file: Path, ignored: Counter[str]) -> Iterator[str]:
    try:
        for row in _rows(file, ignored):
            path = _path(row, file)
            require_text(path, where=f"{file}: the path")
            yield path
    except (OSError, ValueError, csv.Error, RecursionError, MemoryError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise InputError(f"the list {file} cannot be read ({reason}); repair it") from error


def _rows(file: Path, ignored: Counter[str]) -> Iterator[Any]:
    if file.suffix.lower() == ".csv":
        rows = csv_rows(file, fits=lambda header: bool(set(header) & set(_PATH_FIELDS)), ignored=ignored)
        yield from (row for _, row in rows)
        return
    whole = file.suffix.lower() == ".json"  # read at once, the others line by line
    with text_of(file, limit=_WHOLE_BYTES if whole else MAX_BYTES) as stream:
        if whole:
            listed = json.load(stream)
            if not isinstance(listed, list):
                raise InputError(f"{file}: wanted a list [...], found {type(listed).__name__}")
            yield from listed
        else:
            lines = (line.strip() for line in bounded_lines(stream, file))
            yield from (json.loads(line) if file.suffix.lower() == ".jsonl" else line for line in lines if line)


def _path(row: Any, file: Path) -> str:
    if isinstance(row, str):
        return row
    for name in _PATH_FIELDS if isinstance(row, dict) else ():
        if isinstance(row.get(name), str):
            return str(row[name])
    shown = str(row)[:200]
    raise InputError(f"{file}: no path in {shown}; wanted text or an object with one of {', '.join(_PATH_FIELDS)}")
