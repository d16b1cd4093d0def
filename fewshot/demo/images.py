"""Write the demo's images: natural tiles and remade ones, all PNG of one size, with a table that labels them."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.core.arrays import ByteArray
from fewshot.core.files import make_folder, output_error, write_text
from fewshot.demo.generators import GENERATORS, remade
from fewshot.demo.photographs import PHOTOGRAPHS, TILES_PER_PHOTOGRAPH, Photograph, Tile, natural_tiles

NATURAL = "natural"
TABLE = "manifest.csv"


def write_images(
    folder: Path, *, seed: int = 0, photographs: tuple[Photograph, ...] = PHOTOGRAPHS, most: int = TILES_PER_PHOTOGRAPH
) -> Path:
    """Write every natural tile and what each generator makes of it; return the table's path.

    The table has the columns ``path, source, synthetic, group``; the group is the photograph, so that no photograph
    ever stands on both sides of a trial. The files of all sources are written by the same code: only the pixels differ.

    Args:
        folder: where ``manifest.csv`` and one folder per source are made.
        seed: what the generators draw follows from it.
        photographs: which photographs to cut.
        most: tiles per photograph.

    Raises:
        OutputError: the folder cannot be written.
        FewshotError: a photograph is not installed.
    """
    tiles = list(natural_tiles(photographs, most=most))
    pixels = np.stack([tile.pixels for tile in tiles])
    sources = {NATURAL: pixels, **{name: remade(pixels, generator=name, seed=seed) for name in GENERATORS}}
    for source, images in sources.items():
        _write_source(make_folder(folder / source), tiles, images)
    return _write_table(folder / TABLE, tiles, list(sources))


def _write_source(folder: Path, tiles: Sequence[Tile], images: ByteArray) -> None:
    for tile, image in zip(tiles, images, strict=True):
        path = folder / _file_name(tile)
        try:
            Image.fromarray(image).save(path, compress_level=1)  # not durably one by one: the table comes last
        except OSError as error:
            raise output_error(path, error) from error


def _write_table(path: Path, tiles: Sequence[Tile], sources: Sequence[str]) -> Path:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["path", "source", "synthetic", "group"])
    for source in sources:
        for tile in tiles:
            writer.writerow([f"{source}/{_file_name(tile)}", source, int(source != NATURAL), tile.photograph])
    return write_text(path, table.getvalue())


def _file_name(tile: Tile) -> str:
    return f"{tile.photograph}-{tile.number:02d}.png"
