"""A fitted head as arrays and JSON: what it scores from, checked when it is read, and the bytes that hold it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fewshot.core.errors import InputError, OptionError, WeightsError
from fewshot.core.files import atomic_write
from fewshot.core.outputs import HEAD
from fewshot.core.regular_files import read_regular

MOST_BYTES = 4 << 30  # of a saved head
_KEY = "head"  # of the header's metadata: the settings as one JSON text
_DIGEST = "digest"  # among the settings in the file; heads of earlier versions have none


@dataclass(frozen=True)
class Learned:
    """One array that a head scores from.

    Args:
        shape: its sizes by name, for example ``"n D"``, equal names meaning equal sizes and ``D`` the features'
            dimension; empty for a single number.
        kind: ``float`` (float32 or float64, finite), ``int`` or ``bool``.
    """

    shape: str
    kind: type = float


@dataclass(frozen=True)
class HeadState:
    """A fitted head without its code: enough to score, nothing that would have to be fitted again.

    Args:
        arrays: name -> array, all that ``decision_function`` computes with.
        settings: JSON values: ``head`` (its name), ``parameters`` (of the constructor), ``dimension`` (D of the
            features) and ``classes`` (the two labels, ``values`` and ``dtype``).
    """

    arrays: Mapping[str, NDArray[Any]]
    settings: Mapping[str, Any]

    def checked(self, learned: Mapping[str, Learned]) -> Mapping[str, NDArray[Any]]:
        """Return the arrays if they are those that the head declares.

        Raises:
            WeightsError: one is missing, unknown, of another shape or type, or not finite.
        """
        if set(self.arrays) != set(learned):
            missing, unknown = sorted(set(learned) - set(self.arrays)), sorted(set(self.arrays) - set(learned))
            raise self._broken(
                f"lacks the array {missing[0]!r}" if missing else f"has an array {unknown[0]!r} that is unknown to it"
            )
        sizes = {"D": int(self.settings["dimension"])}
        for name, declared in learned.items():
            sizes |= self._sizes(name, declared, sizes)
            self._require_values(name, declared)
        return self.arrays

    def _sizes(self, name: str, declared: Learned, known: Mapping[str, int]) -> dict[str, int]:
        """Return the named sizes of an array, which agree with those known of the arrays before it."""
        shape, wanted = self.arrays[name].shape, declared.shape.split()
        found: dict[str, int] = {}
        fits = len(shape) == len(wanted) and all(
            size == (int(letter) if letter.isdigit() else known.get(letter, found.setdefault(letter, size)))
            for letter, size in zip(wanted, shape, strict=True)
        )
        if not fits:
            given = ", ".join(f"{letter} = {known[letter]}" for letter in dict.fromkeys(wanted) if letter in known)
            raise self._broken(
                f"has the array {name!r} of shape {shape}, and ({', '.join(wanted)}) is wanted"
                + (f" with {given}" if given else "")
            )
        return found

    def _require_values(self, name: str, declared: Learned) -> None:
        array = self.arrays[name]
        kinds = {float: "f", int: "iu", bool: "b"}[declared.kind]
        if array.dtype.kind not in kinds:
            raise self._broken(f"has the array {name!r} of type {array.dtype}, and {declared.kind.__name__} is wanted")
        if declared.kind is float and not np.isfinite(array).all():
            raise self._broken(f"has NaN or infinite values in the array {name!r}")

    def _broken(self, what: str) -> WeightsError:
        return WeightsError(f"the saved head {self.settings['head']!r} {what}; fit it and save it again")


def json_values(parameters: Mapping[str, Any], *, head: str) -> dict[str, Any]:
    """Return a head's constructor parameters as JSON values; tuples become lists.

    Raises:
        OptionError: a parameter that JSON cannot hold, for example a random generator.
    """
    found = {}
    for name, value in parameters.items():
        plain = value.item() if isinstance(value, np.generic) else value
        try:
            found[name] = json.loads(json.dumps(plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"the head {head!r} cannot be saved: {name}={value!r} is not a number, text, list or None ({error}); "
                f"give it as one"
            ) from error
    return found


def to_bytes(state: HeadState) -> bytes:
    """Return the state as a safetensors file: the arrays, and the settings as JSON in the header's metadata.

    safetensors has no checksum, so a digest of both stands beside the settings.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in state.arrays.items()}
    text = json.dumps(dict(state.settings), sort_keys=True, allow_nan=False)
    sealed = {**state.settings, _DIGEST: _digest(text, arrays)}  # one entry: of several, their order would be chance
    return save(arrays, metadata={_KEY: json.dumps(sealed, sort_keys=True, allow_nan=False)})


def from_bytes(content: bytes, *, what: str = "the saved head") -> HeadState:
    """Return the state that ``to_bytes`` wrote.

    Args:
        what: what the bytes are, for the message, for example a path.

    Raises:
        WeightsError: the bytes are not a safetensors file, are cut short, hold no head, or are not those that were
            written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        settings = json.loads(msgspec.json.decode(content[8 : 8 + length], type=_Header).metadata[_KEY])
        recorded = settings.pop(_DIGEST, None)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{what} is not a head that was saved by fewshot ({error}); fit the head and save it again"
        ) from error
    try:
        msgspec.convert(settings, _Settings)
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{what} names no head, parameters, dimension and classes ({error}); fit the head and save it again"
        ) from error
    if recorded not in (None, _digest(json.dumps(settings, sort_keys=True), arrays)):
        raise WeightsError(f"{what} is damaged: it has another digest than was saved; fit the head and save it again")
    return HeadState(arrays, settings)


class _Header(msgspec.Struct):
    metadata: dict[str, str] = msgspec.field(name="__metadata__")


class _Classes(msgspec.Struct):
    values: Annotated[list[Any], msgspec.Meta(min_length=2, max_length=2)]
    dtype: str


class _Settings(msgspec.Struct):
    head: str
    parameters: dict[str, Any]
    dimension: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    classes: _Classes


def _digest(settings: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of the settings' JSON and of every array: name, type, shape and values."""
    found = hashlib.sha256(settings.encode("utf-8"))
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def write(state: HeadState, path: Path) -> None:
    """Write the state to a file of its own, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path, kind=HEAD) as stream:
        stream.write(to_bytes(state))


def read(path: Path) -> HeadState:
    """Read what ``write`` wrote.

    Raises:
        InputError: no such file.
        WeightsError: as ``from_bytes``.
    """
    try:
        content = read_regular(path, limit=MOST_BYTES)
    except OSError as error:
        raise InputError(f"the head {path} cannot be read ({error}); give the path of a saved head") from error
    return from_bytes(content, what=str(path))
