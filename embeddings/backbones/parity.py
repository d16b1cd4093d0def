"""Compare backbones with golden outputs of the authors' code: a folder of ``.npz`` files and their ``recipe.json``.

The recipe gives the seeds and sizes of the images, the prefix that the filler puts before each key, and for each file
the backbone, its variant, the tolerance and the filler's gains (see ``fill_seeded``).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fewshot.core.errors import FewshotError, InputError
from fewshot.embeddings.backbones.base import BACKBONES, CLASSES, Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights, Weights
from fewshot.embeddings.layer_key import LOGIT
from fewshot.embeddings.weights.locate import locate, missing

# Parts that the recipe's networks took from the authors although the rest was filled.
AUTHORS_PARTS = {"unifd": ("head",), "rine": ("head",)}
GREY_LEVELS = {"lgrad": 1}  # how far 8-bit arrays may differ, none elsewhere


@dataclass(frozen=True)
class ArrayError:
    """How far one array is from the authors': max|ours - theirs| / max|theirs|, or grey levels for 8-bit arrays.

    Args:
        reason: why there is no error to state, empty when there is one.
    """

    name: str
    error: float
    tolerance: float
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the error is within the tolerance."""
        return not self.reason and self.error <= self.tolerance


@dataclass(frozen=True)
class FileResult:
    """The comparison of one golden file."""

    file: str
    backbone: str
    arrays: tuple[ArrayError, ...]
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every array agrees, and there are some."""
        return not self.reason and bool(self.arrays) and all(array.agrees for array in self.arrays)


@dataclass(frozen=True)
class Recipe:
    """The ``recipe.json`` of a golden folder."""

    images: Mapping[str, Image.Image]
    prefix: str
    files: Mapping[str, Mapping[str, Any]]

    def spec(self, file: str) -> str:
        """Return the ``NAME:VARIANT`` that answers for a file."""
        entry = self.files[file]
        return f"{entry['backbone']}:{entry['variant']}" if entry.get("variant") else str(entry["backbone"])


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of a golden folder with its images drawn.

    Raises:
        InputError: there is no ``recipe.json``.
    """
    path = folder / "recipe.json"
    if not path.is_file():
        raise InputError(f"{folder} holds no recipe.json; give GOLDEN a folder of golden outputs")
    content = json.loads(path.read_text())
    return Recipe(
        images={name: _drawn(entry) for name, entry in content["images"].items()},
        prefix=str(content.get("fill_key_prefix", "")),
        files=content["files"],
    )


def compare_file(path: Path, recipe: Recipe, *, weights: Path | None = None, device: str = "cpu") -> FileResult:
    """Return the comparison of one golden file; a file that no backbone answers for is a disagreement."""
    entry = recipe.files.get(path.stem)
    if entry is None:
        return FileResult(path.stem, "", (), "recipe.json does not name it")
    spec = recipe.spec(path.stem)
    if entry["backbone"] not in BACKBONES.names():
        return FileResult(path.stem, spec, (), f"no backbone {entry['backbone']!r}")
    try:
        backbone = create(spec)
        backbone.load(device=device, weights=_weights(backbone, entry, recipe.prefix, weights))
    except FewshotError as error:
        return FileResult(path.stem, spec, (), str(error))
    try:
        with path.open("rb") as stream, np.load(stream) as golden:
            arrays = {name: golden[name] for name in golden.files if name != "__meta__"}
    except (OSError, ValueError, BadZipFile) as error:
        return FileResult(path.stem, spec, (), f"{path} cannot be read ({error}); give the file anew")
    return FileResult(path.stem, spec, tuple(_compared(backbone, arrays, recipe, float(entry["tolerance"]))))


def _weights(backbone: Backbone, entry: Mapping[str, Any], prefix: str, folder: Path | None) -> Weights:
    filled = RandomWeights(prefix, float(entry["weight_gain"]), float(entry["bias_gain"]))
    theirs = AUTHORS_PARTS.get(backbone.name, ()) if entry["weights"] == "filled" else None
    found: dict[str, Path | RandomWeights] = {}
    for file in backbone.card.weights:
        if theirs is not None and file.part not in theirs:
            found[file.part] = filled
            continue
        path = locate(file, backbone=backbone.name, cache=folder)
        if path is None:
            raise missing(backbone.card, file, cache=folder)
        found[file.part] = path
    return found


def _compared(
    backbone: Backbone, golden: Mapping[str, NDArray[Any]], recipe: Recipe, tolerance: float
) -> Iterator[ArrayError]:
    answered: set[str] = set()
    first, of_the_first = next(iter(recipe.images), ""), None
    for image_name, image in recipe.images.items():
        suffix = f"_{image_name}"
        wanted = {name: array for name, array in golden.items() if name.endswith(suffix)}
        if not wanted:
            continue
        ours = _ours(backbone, image)
        of_the_first = ours if image_name == first else of_the_first
        for name, theirs in wanted.items():
            answered.add(name)
            yield _array_error(name, ours.get(_base(name.removesuffix(suffix))), theirs, backbone, tolerance)
    for name in sorted(set(golden) - answered):  # those of no image, such as fixed filters
        of_the_first = of_the_first or _ours(backbone, recipe.images[first])
        yield _array_error(name, of_the_first.get(name), golden[name], backbone, tolerance)


def _ours(backbone: Backbone, image: Image.Image) -> dict[str, NDArray[Any]]:
    """Return all layers and stages of one image; a stage hides a layer of its name, both classes their difference."""
    images = torch.from_numpy(np.asarray(backbone.preprocess(image)))[None]
    with torch.inference_mode():
        found = backbone.features(backbone.normalise(images))
    layers = {name: value[0].flatten().cpu().numpy() for name, value in found.items()}
    if CLASSES in layers:
        layers[LOGIT] = layers[CLASSES]
    return {**layers, **backbone.stages(image)}


def _base(name: str) -> str:
    return name.removesuffix("_sub")


def _array_error(
    name: str, ours: NDArray[Any] | None, theirs: NDArray[Any], backbone: Backbone, tolerance: float
) -> ArrayError:
    if ours is None:
        return ArrayError(name, np.inf, tolerance, f"backbone {backbone.card.name!r} has no such array")
    candidates = [sample for sample in subsamples(np.asarray(ours), theirs.shape) if sample.shape == theirs.shape]
    if not candidates:
        return ArrayError(name, np.inf, tolerance, f"shape {np.shape(ours)}, theirs {theirs.shape}")
    difference = min(_furthest(sample, theirs) for sample in candidates)
    if theirs.dtype == np.uint8:
        return ArrayError(name, difference, GREY_LEVELS.get(backbone.name, 0))
    if theirs.dtype.kind in "iub":
        return ArrayError(name, difference, 0.0)
    largest = float(np.max(np.abs(theirs.astype(np.float64)), initial=0.0))
    return ArrayError(name, difference / largest if largest else difference, tolerance)


def _furthest(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return max|ours - theirs|, infinite where either is not a number, so that it is never the least of several."""
    found = float(np.max(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)), initial=0.0))
    return np.inf if np.isnan(found) else found


def subsamples(array: NDArray[Any], shape: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """Yield every s-th entry along each axis, for each choice of strides that gives ``shape``.

    Recordings hold every s-th row and column and do not say s; with small images more than one s gives their shape.

    >>> [sample.tolist() for sample in subsamples(np.arange(10), (3,))]
    [[0, 4, 8]]
    >>> [sample.tolist() for sample in subsamples(np.arange(7), (2,))]
    [[0, 4], [0, 5], [0, 6]]
    """
    if array.ndim != len(shape):
        return
    strides = [
        [stride for stride in range(1, max(length, 1) + 1) if -(-length // stride) == wanted]
        for length, wanted in zip(array.shape, shape, strict=True)
    ]
    for chosen in product(*strides):
        yield array[tuple(slice(None, None, stride) for stride in chosen)]


def _drawn(entry: Mapping[str, Any]) -> Image.Image:
    """Draw one image: uniform noise, or flat blocks with a little noise (numpy's legacy generator)."""
    generator = np.random.RandomState(int(entry["seed"]))
    if entry["kind"] == "noise":
        return Image.fromarray(generator.randint(0, 256, size=(entry["height"], entry["width"], 3)).astype(np.uint8))
    if entry["kind"] != "blocks":
        raise InputError(f"recipe.json has an image of kind {entry['kind']!r}; known are noise and blocks")
    coarse = generator.randint(0, 256, size=(entry["rows"], entry["columns"], 3))
    block = np.ones((entry["block"], entry["block"], 1), dtype=coarse.dtype)
    blocks = np.kron(coarse, block)
    lowest, beyond = (int(value) for value in entry["noise"])
    noise = np.random.RandomState(int(entry["noise_seed"])).randint(lowest, beyond, size=blocks.shape)
    return Image.fromarray(np.clip(blocks + noise, 0, 255).astype(np.uint8))
