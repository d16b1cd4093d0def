"""Unlabelled images that wait: folders, files, tables and stores, as stores with the features of a detector."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import InputError
from fewshot.core.looked_for import looked_for
from fewshot.detector.fitting_inputs import Embedding, is_store, opened
from fewshot.detector.labelled_table import SUFFIXES, LabelledTable
from fewshot.embeddings.layouts.delimited import csv_rows
from fewshot.embeddings.layouts.tree import image_files as images_below
from fewshot.embeddings.search.query import image_files
from fewshot.embeddings.store.reader import FeatureStore

NAME = "unlabelled"  # what stands for the source of images that are not labelled yet


@dataclass(frozen=True)
class Waiting:
    """Images of one store that wait to be looked at.

    Args:
        store: with the features of a detector; rows: those that have them all.
        files: (n,) where each image lies, None where it is not on this machine, or in an archive.
        ids: (n,) hashes of their pixels.
        failed: (path, reason) of images that could not be used.
    """

    store: FeatureStore
    rows: IntArray
    files: tuple[Path | None, ...]
    ids: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


def waiting(inbox: Sequence[Path], embedding: Embedding, *, roots: Sequence[Path] = ()) -> list[Waiting]:
    """Return the images of an inbox: those of each store, and those of all folders, files and tables together.

    Args:
        inbox: stores, folders (with all below them), image files, and tables (CSV or TSV) with a column ``path``.
        roots: where images of the stores lie now, if they have moved.

    Raises:
        InputError: there is no such file, or no image at all.
        FewshotError: as ``fitting_inputs.opened``.
    """
    stores: list[tuple[Path | FeatureStore, bool]] = [(each, False) for each in inbox if is_store(each)]
    paths = list(dict.fromkeys(path for each in inbox if not is_store(each) for path in _listed(each)))
    if paths:
        unread = LabelledTable(tuple((str(path), NAME, False) for path in paths), skipped=0)  # nobody reads the labels
        stores.append((unread.written(embedding.folder, name=NAME), True))
    if not stores:
        raise InputError(f"no image was found in {', '.join(map(str, inbox))}; name a folder or files that hold some")
    return [_of_store(opened(given, embedding), embedding, own=own, roots=roots) for given, own in stores]


def _listed(given: Path) -> Iterator[Path]:
    path = given.expanduser().absolute()
    if path.is_dir():
        yield from (path / below for below in images_below(path, ignored=Counter()))
    elif path.suffix.lower() in SUFFIXES:
        yield from _of_table(path)
    elif path.exists():
        yield path
    else:
        raise InputError(
            f"there is no file or folder {given}{looked_for(given)}; name the folder, the images, a table or a store"
        )


def _of_table(file: Path) -> Iterator[Path]:
    try:
        for number, row in csv_rows(file, fits=lambda header: "path" in header, ignored=Counter()):
            if not row.get("path"):
                raise InputError(
                    f"{file}, row {number}: no value for path; every row names an image by the column path, and the "
                    f"columns are {', '.join(row)}"
                )
            yield file.parent / row["path"]
    except (OSError, ValueError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"the table {file} cannot be read ({reason}); repair it or name another") from error


def _of_store(store: FeatureStore, embedding: Embedding, *, own: bool, roots: Sequence[Path]) -> Waiting:
    there: BoolArray = np.ones(len(store), dtype=bool)
    for info in embedding.like:
        there &= store.present(info.backbone, view=info.view)
    rows = np.flatnonzero(there).astype(np.int64)
    failed = {failure.key: failure.reason for failure in store.failures()} if own else {}
    ids = tuple(str(image) for image in store.column("id")[rows])
    return Waiting(store, rows, image_files(store, rows, roots=roots), ids, tuple(failed.items()))
