"""How an image becomes a network's input: the geometry's steps, then scaling and normalisation; JSON both ways.

The geometry runs on the CPU; the normalisation runs on the device, on the batch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot.core.errors import OptionError
from fewshot.embeddings.inputs.transforms import Resize, Step, Triple, pillow_resize

_MOST_PIXELS = 1 << 14  # of a side: a rule from a file must not ask for memory without bounds


@dataclass(frozen=True)
class InputRule:
    """How an image becomes a network's input.

    Args:
        steps: the geometry, applied in order to the RGB image.
        mean, std: per-channel, applied to ``pixels / divisor``; both None for no normalisation.
        divisor: 255 scales bytes to [0, 1]; 1 leaves them in 0..255.
    """

    steps: tuple[Step, ...] = ()
    mean: Triple | None = None
    std: Triple | None = None
    divisor: float = 255.0

    def __call__(self, image: Image.Image, *, resize: Resize = pillow_resize) -> NDArray[Any]:
        """Return the geometry's result: (3, H, W) uint8, or what a last array step returns."""
        for step in self.steps[:-1]:
            between = step.by(image, resize)
            if not isinstance(between, Image.Image):
                raise TypeError(f"{step} returns an array, so it must be the last step of {self.geometry!r}")
            image = between
        result: Image.Image | NDArray[Any] = self.steps[-1].by(image, resize) if self.steps else image
        if isinstance(result, Image.Image):
            return np.asarray(result).transpose(2, 0, 1).copy()
        return result

    @property
    def geometry(self) -> str:
        """The steps in words; rules of equal geometry share one computation."""
        return " > ".join(str(step) for step in self.steps) or "native"

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of every result, or None when it depends on the image."""
        size: tuple[int, int] | None = None
        for step in self.steps:
            size = step.size(size)
        return size

    def __str__(self) -> str:
        if self.mean is None:
            scale = "[0, 1]" if self.divisor == 255 else f"/ {self.divisor:g}"
            return f"{self.geometry} > {scale}"
        return f"{self.geometry} > /{self.divisor:g}, mean {self.mean}, std {self.std}"


def rule_to_json(rule: InputRule) -> dict[str, Any]:
    """Return a rule as JSON values: the class and the numbers of every step, then the normalisation."""
    steps = [{"step": type(step).__name__, **asdict(cast(Any, step))} for step in rule.steps]
    return {"steps": steps, "mean": rule.mean, "std": rule.std, "divisor": rule.divisor}


def rule_from_json(document: Mapping[str, Any]) -> InputRule:
    """Return the rule that ``rule_to_json`` gave; its steps are those of ``inputs``, and of plug-ins that are loaded.

    Raises:
        OptionError: no such step, or one that does not take these numbers.
    """
    from fewshot.embeddings.inputs import bit_patch, detector_crops, opencv, patches  # noqa: F401  # define steps

    known = {kind.__name__: kind for kind in Step.__subclasses__()}
    steps = []
    try:
        for entry in document["steps"]:
            numbers = {name: value for name, value in entry.items() if name != "step"}
            steps.append(_step(known[entry["step"]], numbers))
        mean, std = (None if document[name] is None else tuple(map(float, document[name])) for name in ("mean", "std"))
        divisor = float(document["divisor"])
        _require_usable(steps, mean, std, divisor)
        return InputRule(tuple(steps), cast(Any, mean), cast(Any, std), divisor)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OptionError(
            f"the input rule {dict(document)} cannot be used ({type(error).__name__}: {error}); known steps are "
            f"{', '.join(sorted(known))}"
        ) from error


def _step(kind: type[Step], numbers: Mapping[str, Any]) -> Step:
    """Return a step of checked types; its fields are whole numbers, choices and triples."""
    import msgspec

    unknown = set(numbers) - {each.name for each in fields(cast(Any, kind))}
    if unknown:
        raise ValueError(f"{kind.__name__} takes no {', '.join(sorted(map(str, unknown)))}")
    return msgspec.convert(dict(numbers), kind)


def _require_usable(
    steps: list[Step], mean: tuple[float, ...] | None, std: tuple[float, ...] | None, divisor: float
) -> None:
    for triple in (mean, std):
        if triple is not None and (len(triple) != 3 or not np.isfinite(triple).all()):
            raise ValueError(f"mean and std are three finite numbers, and one is {triple}")
    if (std is not None and min(std) <= 0) or not 0 < divisor < np.inf:
        raise ValueError(f"std {std} and divisor {divisor} must be positive")
    for step in steps:
        sizes = [value for value in asdict(cast(Any, step)).values() if type(value) is int]
        if any(abs(size) > _MOST_PIXELS for size in sizes):
            raise ValueError(f"{type(step).__name__} of more than {_MOST_PIXELS} pixels")
