"""The free part of an archive: metadata as JSON values of bounded size."""

import json
import math
from collections.abc import Mapping
from typing import Any

from fewshot.core.errors import InputError

_MOST_BYTES = 32_000  # an attribute of HDF5 has at most 64 KiB
_MOST_VALUES = 10_000
_DEEPEST = 16
_SHOWN_CHARACTERS = 200


def as_json(values: Mapping[Any, Any], *, where: str) -> dict[str, Any]:
    """Return a mapping as JSON values; what JSON has not (tensors, NaN, bytes) becomes a short text.

    Args:
        where: what the mapping is, for messages.

    Raises:
        InputError: it is too deep or too large, holds itself, or has two keys of one name.
    """
    left = [_MOST_VALUES]
    found: dict[str, Any] = _value(values, where, left, 0)
    size = len(json.dumps(found))
    if size > _MOST_BYTES:
        raise InputError(f"{where} has {size} bytes as text, and at most {_MOST_BYTES} are kept; leave the rest out")
    return found


def _value(value: Any, where: str, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth > _DEEPEST:
        raise InputError(f"{where} is nested too deeply or holds too many values; leave out what is not needed")
    if isinstance(value, Mapping):
        return _mapping(value, where, left, depth)
    if isinstance(value, (list, tuple, set)):
        return [_value(each, where, left, depth + 1) for each in value]
    if value is None or type(value) is bool or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is int and abs(value) < 2**63:
        return value
    if type(value) is str:
        return value.encode("utf-8", "backslashreplace").decode()
    return _in_words(value)


def _mapping(value: Mapping[Any, Any], where: str, left: list[int], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = _value(key, where, left, depth) if isinstance(key, str) else _in_words(key)
        if name in found:
            raise InputError(f"{where} has two entries {name[:80]!r}; leave one out")
        found[name] = _value(inner, where, left, depth + 1)
    return found


def _in_words(value: Any) -> str:
    """Return a short text of a value that JSON does not have, made without writing out a large one."""
    if type(value) in (int, float, complex, bool, type(None)):
        return str(value)[:_SHOWN_CHARACTERS]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:_SHOWN_CHARACTERS]).decode("utf-8", "backslashreplace")
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"
