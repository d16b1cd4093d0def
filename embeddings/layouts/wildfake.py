"""WildFake: images under ``Images/{Real,GAN_based,Diffusion_based,Other_based}``, membership from its list files."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, final

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.tree import children

CLASSES = {"Real": False, "GAN_based": True, "Diffusion_based": True, "Other_based": True}
SPLITS = ("train", "test")
SUFFIXES = (".jsonl", ".json", ".csv", ".txt")
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
        lists = [(split, file) for split in SPLITS if (file := _list_of(root, split)) is not None]
        if not lists:
            wanted = " or ".join(f"{split}{{{','.join(SUFFIXES)}}}" for split in SPLITS)
            raise InputError(
                f"{root} has no list of the split ({wanted}); put WildFake's own lists there, or give a table"
            )
        for split, file in lists:
            for path in _paths(file):
                yield _sample(file, split, path)


def _list_of(root: Path, split: str) -> Path | None:
    return next((root / f"{split}{suffix}" for suffix in SUFFIXES if (root / f"{split}{suffix}").is_file()), None)


def _sample(file: Path, split: str, path: str) -> Sample:
    parts = path.removeprefix("./").removeprefix("Images/").split("/")
    if parts[0] not in CLASSES or len(parts) < 2:
        raise InputError(
            f"{file}: {path!r} does not begin with one of {', '.join(CLASSES)}; paths must be relative to Images/"
        )
    return Sample(
        path="/".join(["Images", *parts]),
        source=parts[-2],
        synthetic=CLASSES[parts[0]],
        split=split,
        dataset="WildFake",
        category=parts[0],
    )


def _paths(file: Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    if file.suffix == ".txt":
        yield from (line.strip() for line in text.splitlines() if line.strip())
    elif file.suffix == ".csv":
        yield from (_path(row, file) for row in csv.DictReader(text.splitlines()))
    elif file.suffix == ".json":
        yield from (_path(row, file) for row in _parsed(text, file))
    else:
        yield from (_path(_parsed(line, file), file) for line in text.splitlines() if line.strip())


def _parsed(text: str, file: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}); repair it") from error


def _path(row: Any, file: Path) -> str:
    if isinstance(row, str):
        return row
    for name in _PATH_FIELDS if isinstance(row, dict) else ():
        if isinstance(row.get(name), str):
            return str(row[name])
    raise InputError(f"{file}: no path in {row!r}; wanted text or an object with one of {', '.join(_PATH_FIELDS)}")
