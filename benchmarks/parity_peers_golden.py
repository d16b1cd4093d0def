"""A golden file of the few-shot competitors: its arrays, and the inputs and weights that its recipe draws.

Everything is drawn from the recipe's ``fill_key_prefix`` and the names of its rules, so that one program answers any
folder of this form.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.weights.checkpoint import fill_seeded

Answer = Mapping[str, NDArray[Any]]
"""Our arrays by the names of a golden file; those that are left out count as missing."""

_BLOCK = 16  # pixels of a side of a flat block
_SUM_TOLERANCE = 1e-9  # of a float64 sum of the same float32 values in another order


@dataclass(frozen=True)
class Golden:
    """One ``.npz`` file of a golden folder.

    Args:
        file: its name without the suffix.
        arrays: what it holds, beside ``__meta__``.
        meta: its ``__meta__``.
        prefix: what stands before the key of every generator.
        tolerance: how large the error of an array may be.
    """

    file: str
    arrays: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]
    prefix: str
    tolerance: float

    @classmethod
    def read(cls, path: Path, recipe: Mapping[str, Any]) -> "Golden":
        """Return a golden file.

        Raises:
            InputError: it cannot be read, or the recipe does not name it.
        """
        if path.stem not in recipe["files"]:
            raise InputError(f"recipe.json does not name {path.stem!r}; remove the file, or give its recipe")
        try:
            with path.open("rb") as stream, np.load(stream) as content:
                arrays = {name: content[name] for name in content.files}
            meta = json.loads(str(arrays.pop("__meta__", "{}")))
        except (OSError, ValueError, BadZipFile) as error:
            raise InputError(f"{path} cannot be read ({error}); give the file anew") from error
        prefix, tolerance = recipe.get("fill_key_prefix", ""), recipe["files"][path.stem]["tolerance"]
        return cls(path.stem, arrays, meta, str(prefix), float(tolerance))

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return standard normal numbers of a name: ``shape``, float32."""
        return torch.from_numpy(self._generator(f"input/{name}").standard_normal(tuple(shape)).astype(np.float32))

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        """Return numbers between 0 and 1 of a name: ``shape``, float32."""
        return torch.from_numpy(self._generator(f"input/{name}").random_sample(tuple(shape)).astype(np.float32))

    def permutation(self, name: str, count: int) -> Tensor:
        """Return a permutation of a name: (count,) int64."""
        return torch.from_numpy(self._generator(f"input/{name}").permutation(count).astype(np.int64))

    def pixels(self, name: str, kind: str, height: int, width: int) -> NDArray[np.uint8]:
        """Return the pixels of an image of a name: (height, width, 3).

        Args:
            kind: ``noise``, or ``blocks`` of one colour with a little noise.
        """
        generator = self._generator(f"image/{name}")
        if kind == "noise":
            return np.asarray(generator.randint(0, 256, size=(height, width, 3)), dtype=np.uint8)
        low = generator.randint(0, 256, size=(-(-height // _BLOCK), -(-width // _BLOCK), 3))
        blocks = low.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[:height, :width]
        noise = generator.randint(-8, 9, size=(height, width, 3))
        return np.asarray(np.clip(blocks + noise, 0, 255), dtype=np.uint8)

    def image(self, name: str, kind: str, height: int, width: int) -> Image.Image:
        """Return the image of a name, as ``pixels`` draws it."""
        return Image.fromarray(self.pixels(name, kind, height, width))

    @property
    def weights(self) -> RandomWeights:
        """The weights that the recipe draws for the keys of a network."""
        return RandomWeights(self.prefix, 1.0, 1.0)

    def fill(self, module: nn.Module, *, checked: str = "") -> None:
        """Fill a module in place with the weights of its own keys.

        Args:
            checked: the sum in ``meta`` that they must have; none where it is empty.

        Raises:
            InputError: the sum differs.
        """
        fill_seeded(module.state_dict(), self.weights)
        if checked:
            self.require_sum(module.state_dict(), checked)

    def require_sum(self, state: Mapping[str, Tensor], name: str = "fill_sum") -> None:
        """Require that filled tensors have the sum that ``meta`` states.

        Raises:
            InputError: they have another, so they were drawn otherwise or have other names.
        """
        found = sum(float(value.double().sum()) for value in state.values() if value.is_floating_point())
        wanted = float(self.meta[name])
        size = sum(float(value.double().abs().sum()) for value in state.values() if value.is_floating_point())
        if not abs(found - wanted) <= _SUM_TOLERANCE * size:
            raise InputError(f"{self.file}: the filled weights sum to {found!r}, and {name} is {wanted!r}")

    def _generator(self, name: str) -> np.random.RandomState:
        return np.random.RandomState(zlib.crc32(f"{self.prefix}{name}".encode()))  # the recipe's own
