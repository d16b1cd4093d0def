"""What an archive in FiSeR's form holds, field by field: each of a declared type and domain, nothing is guessed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot.core.arrays import BoolArray, IntArray
from fewshot.core.errors import InputError
from fewshot.core.names import line_fault
from fewshot.embeddings.store.archive_metadata import as_json

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = ("embeddings", "ids", "labels", "binary_labels", "classes", "metadata")
_SHOWN = 5
_EXACT = 2**53  # up to here every whole number is a float


@dataclass(frozen=True)
class ArchiveContent:
    """An archive whose every field was checked, the values of its layers excepted.

    Args:
        layers: name -> (N, D) floating tensor on the CPU, D at least 1, N at least 1.
        ids: (N,) text, no two equal.
        sources: (N,) int64, numbers into ``classes``.
        synthetic: (N,) bool.
        classes: the names of the sources, no two equal.
        normalised: whether the rows are of unit length already.
        model: the network's name, empty when the archive does not say it.
        metadata: JSON values.
    """

    layers: "Mapping[str, Tensor]"
    ids: Sequence[str]
    sources: IntArray
    synthetic: BoolArray
    classes: Sequence[str]
    normalised: bool
    model: str
    metadata: Mapping[str, Any]


def content_of(path: Path, content: Any) -> ArchiveContent:
    """Return the fields of what ``torch.load`` gave.

    Args:
        path: the archive, for messages.

    Raises:
        InputError: a field is missing, or of another type, shape, length or domain than the form has.
    """
    missing = [name for name in FIELDS if not isinstance(content, Mapping) or name not in content]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)}; an archive in FiSeR's form holds {', '.join(FIELDS)}")
    ids = _ids(path, content["ids"])
    classes = _classes(path, content["classes"])
    metadata = _metadata(path, content["metadata"])
    sources = _whole_numbers(path, "labels", content["labels"], rows=len(ids))
    outside = sources[(sources < 0) | (sources >= len(classes))]
    if len(outside):
        raise InputError(f"{path}: source {int(outside[0])} has no name among the {len(classes)} classes")
    return ArchiveContent(
        layers=_layers(path, content["embeddings"], rows=len(ids)),
        ids=ids,
        sources=sources,
        synthetic=_synthetic(path, content["binary_labels"], rows=len(ids)),
        classes=classes,
        normalised=_normalised(path, content["metadata"]),
        model=_model(path, content["metadata"]),
        metadata=metadata,
    )


def _ids(path: Path, values: Any) -> list[str]:
    numbers = values.tolist() if _is_vector(values) and not values.is_floating_point() else values
    if not isinstance(numbers, (list, tuple)) or not all(type(each) in (int, str) for each in numbers):
        raise InputError(f"{path}: ids must be whole numbers or texts, one per image, and are {_described(values)}")
    if not numbers:
        raise InputError(f"{path} holds no image; embed again with extract_embeddings.py")
    ids = [str(number) for number in numbers]
    _require_names(path, "ids", ids)
    return ids


def _classes(path: Path, values: Any) -> list[str]:
    if not isinstance(values, (list, tuple)) or not all(type(each) is str for each in values):
        raise InputError(f"{path}: classes must be a list of source names, and is {_described(values)}")
    _require_names(path, "classes", values)
    return list(values)


def _require_names(path: Path, field: str, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        if fault := line_fault(name):
            raise InputError(f"{path}: {field}[{number}] {name[:80]!r} cannot be a name: {fault}; write it again")
    if len(set(names)) < len(names):
        double = Counter(names).most_common(1)[0][0]
        raise InputError(f"{path}: {field} has {double!r} twice; every one must be there once, write it again")


def _layers(path: Path, values: Any, *, rows: int) -> "dict[str, Tensor]":
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: embeddings must be a mapping of layers, and is {_described(values)}")
    if not values:
        raise InputError(f"{path} holds no layer; embed again with extract_embeddings.py --layers")
    found: dict[str, Tensor] = {}
    for key, tensor in values.items():
        name = _layer_name(path, key)
        if name in found:
            raise InputError(f"{path} has two layers {name!r}, one by number and one by text; leave one out")
        found[name] = _layer(path, name, tensor, rows=rows)
    _require_held(path, found)
    return found


def _layer_name(path: Path, key: Any) -> str:
    if type(key) not in (int, str):
        raise InputError(f"{path}: layers are named by text or numbers, and one by a {type(key).__name__}; rename it")
    name = str(key)
    if fault := line_fault(name):
        raise InputError(f"{path}: {name[:80]!r} cannot be the name of a layer: {fault}; rename it")
    return name


def _layer(path: Path, name: str, tensor: Any, *, rows: int) -> "Tensor":
    from fewshot.embeddings.weights.plain_tensors import FLOATS, oddity, type_name

    fault = oddity(tensor)
    if not fault and tensor.dtype not in FLOATS:
        fault = f"{type_name(tensor)}, not floating"
    if not fault and (tensor.ndim != 2 or tensor.shape[1] == 0):
        fault = f"of shape {tuple(tensor.shape)}"
    if fault:
        raise InputError(
            f"{path}: layer {name} must be a dense tensor (images, dimensions) of floats, and is {fault}; write the "
            f"archive again"
        )
    if len(tensor) != rows:
        raise InputError(
            f"{path} has {len(tensor)} rows of layer {name} for {rows} ids; the archive is damaged, embed again"
        )
    values: Tensor = tensor.detach()
    return values


def _require_held(path: Path, layers: "Mapping[str, Tensor]") -> None:
    """Raise where layers share memory, so that a small file would become a store without bounds."""
    storages = {values.untyped_storage().data_ptr(): values.untyped_storage().nbytes() for values in layers.values()}
    declared = sum(values.numel() * values.element_size() for values in layers.values())
    if declared > sum(storages.values()):
        raise InputError(
            f"{path}: its layers share memory ({declared} bytes in {sum(storages.values())}); save each as a tensor of "
            f"its own"
        )


def _synthetic(path: Path, values: Any, *, rows: int) -> BoolArray:
    labels = _whole_numbers(path, "binary_labels", values, rows=rows, domain="0 (natural) or 1 (synthetic)")
    if not np.isin(labels, (0, 1)).all():
        found = np.unique(labels).tolist()
        raise InputError(f"{path}: binary_labels must be 0 (natural) or 1 (synthetic), and are {found[:_SHOWN]}")
    return labels.astype(bool)


def _whole_numbers(path: Path, field: str, values: Any, *, rows: int, domain: str = "whole numbers") -> IntArray:
    """Return a field of one whole number per image: (N,) int64; floats only where they are whole."""
    import torch

    listed = isinstance(values, (list, tuple)) and all(type(each) in (int, bool, float) for each in values)
    try:
        given: Any = (
            torch.tensor(values, dtype=torch.float64 if _any_float(values) else torch.int64) if listed else values
        )
    except (OverflowError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: {field} must be {domain}, and holds numbers beyond 64 bits") from error
    if not _is_vector(given):
        raise InputError(f"{path}: {field} must be {domain}, one per image, and is {_described(values)}")
    if len(given) != rows:
        raise InputError(f"{path} has {len(given)} {field} for {rows} ids; the archive is damaged, embed again")
    numbers = given.to(torch.float64) if given.is_floating_point() else given.to(torch.int64)
    if numbers.is_floating_point():
        broken = ~((numbers == numbers.trunc()) & (numbers.abs() <= _EXACT))
        if bool(broken.any()):
            row = int(broken.nonzero()[0])
            raise InputError(f"{path}: {field} must be {domain}, and {field}[{row}] is {float(numbers[row]):g}")
    whole: IntArray = numbers.to(torch.int64).numpy()
    return whole


def _any_float(values: Sequence[Any]) -> bool:
    return any(type(each) is float for each in values)


def _is_vector(values: Any) -> bool:
    from fewshot.embeddings.weights.plain_tensors import oddity

    return not oddity(values) and values.ndim == 1


def _metadata(path: Path, values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: metadata must be a mapping, and is {_described(values)}")
    return as_json(values, where=f"{path}: metadata")


def _normalised(path: Path, metadata: Mapping[str, Any]) -> bool:
    found = metadata.get("normalized", False)
    if type(found) is not bool:
        raise InputError(
            f"{path}: metadata's normalized must be True or False, and is {str(found)[:80]!r}; write it again"
        )
    return found


def _model(path: Path, metadata: Mapping[str, Any]) -> str:
    found = metadata.get("model_name")
    if found is not None and type(found) is not str:
        raise InputError(f"{path}: metadata's model_name must be text, and is {str(found)[:80]!r}; write it again")
    return found or ""


def _described(values: Any) -> str:
    """Return type and shape of a value in words, however large it is."""
    from torch import Tensor

    from fewshot.embeddings.weights.plain_tensors import oddity, type_name

    if isinstance(values, Tensor):
        return oddity(values) or f"{type_name(values)} of shape {tuple(values.shape)}"
    if isinstance(values, (list, tuple)):
        kinds = sorted({type(each).__name__ for each in values})
        return f"a {type(values).__name__} of {', '.join(kinds[:_SHOWN]) or 'nothing'}"
    return f"a {type(values).__name__}"
