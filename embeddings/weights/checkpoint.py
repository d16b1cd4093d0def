"""Read a checkpoint without trusting it, and fill a network from it key by key.

``torch.load(weights_only=True)`` or safetensors only. The order of unwrapping and the prefixes are those of the public
detectors' files: ``model`` in CNNDetection, SAFE and AIDE, ``netC`` in Gram-Net, ``module.`` after DataParallel.
"""

import argparse
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from pickle import UnpicklingError  # noqa: TID251  # only the exception: nothing is unpickled here
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot.core.errors import WeightsError
from fewshot.embeddings.card import RandomWeights

State = dict[str, Tensor]

WRAPPERS = ("model", "state_dict", "netC", "net", "encoder")
PREFIXES = ("module.", "_orig_mod.")
_SHOWN_KEYS = 4
_FILLING_THREADS = 4
# Plain holders of values that training scripts save beside the tensors; making one runs nothing.
_HARMLESS: list[Any] = [argparse.Namespace, PosixPath]


def read_checkpoint(path: Path) -> State:
    """Return the tensors of a file, unwrapped and without the prefixes of wrappers, on the CPU.

    Args:
        path: a ``.safetensors`` file, a file of ``torch.save``, or a Hugging Face folder with ``model.safetensors``.

    Raises:
        WeightsError: truncated, of no known form, or a file that would need unpickling.
    """
    if path.is_dir():
        path = _in_folder(path)
    if path.suffix == ".safetensors":
        return strip(_read_safetensors(path))
    return strip(unwrap(_read_torch(path), path=path))


def unwrap(content: Any, *, path: Path) -> State:
    """Return the mapping of tensors inside ``model``, ``state_dict``, ``netC``, ``net`` or ``encoder``."""
    while isinstance(content, Mapping):
        inner = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = content[inner]
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not a mapping of tensors; give the state_dict of the network"
        )
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        raise WeightsError(
            f"{path} does not hold a plain state_dict: {_listed(others) if others else 'it is empty'}; known wrappers "
            f"are {', '.join(WRAPPERS)}"
        )
    return {str(key): value for key, value in content.items()}


def strip(state: Mapping[str, Tensor]) -> State:
    """Return the state without leading ``module.`` and ``_orig_mod.``, which wrappers of torch put before keys."""
    stripped = {}
    for key, value in state.items():
        while key.startswith(PREFIXES):
            key = key.removeprefix("module.").removeprefix("_orig_mod.")
        stripped[key] = value
    return stripped


def fill_strictly(network: nn.Module, state: Mapping[str, Tensor], *, ignorable: Sequence[str], what: str) -> None:
    """Copy a state into a network whose keys and shapes it must match exactly.

    Args:
        network: receives the values, converted to its own dtypes.
        state: the checkpoint's tensors.
        ignorable: regular expressions of keys, documented by the member, that may stand in the file unused.
        what: the file and the backbone, for the message.

    Raises:
        WeightsError: missing or unexpected keys, or shapes that differ; they are named.
    """
    own = network.state_dict()
    given = {key: value for key, value in state.items() if key in own or not _matches(key, ignorable)}
    complaints = [
        f"{len(keys)} {word} ({_listed(keys)})"
        for word, keys in (
            ("missing keys", [key for key in own if key not in given]),
            ("unexpected keys", [key for key in given if key not in own]),
            ("shapes differ", [_shapes(key, given, own) for key in own if _differs(key, given, own)]),
        )
        if keys
    ]
    if complaints:
        raise WeightsError(
            f"{what} does not fit the network: {'; '.join(complaints)}; give this detector's own checkpoint"
        )
    network.load_state_dict(given, strict=True)


def fill_seeded(template: Mapping[str, Tensor], random: RandomWeights, *, kept: Iterable[str] = ()) -> State:
    """Fill every floating tensor in place with the seeded values of its key, and return the state.

    The networks behind the golden outputs in tests/golden were filled so: values depend on the key alone, and any
    implementation with the same key names holds the same network.

    Args:
        template: the tensors to fill, by the reference's key names; on the CPU.
        random: prefix of the keys and gains.
        kept: regular expressions of keys left as they are.
    """

    def fill(item: tuple[str, Tensor]) -> None:
        key, tensor = item
        with torch.no_grad():
            if key.endswith("num_batches_tracked"):
                tensor.zero_()
            elif tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(_seeded_values(key, tuple(tensor.shape), random)))

    # every key has a generator of its own, and NumPy draws without the interpreter's lock
    with ThreadPoolExecutor(_FILLING_THREADS) as threads:
        list(threads.map(fill, [item for item in template.items() if not _matches(item[0], kept)]))
    return dict(template)


def _seeded_values(key: str, shape: tuple[int, ...], random: RandomWeights) -> Any:
    generator = np.random.RandomState(zlib.crc32((random.prefix + key).encode()))  # the recipe's own
    normal = np.asarray(generator.standard_normal(shape if shape else None), dtype=np.float64)
    if key.endswith("running_var"):
        values = 1 + 0.1 * np.abs(normal)
    elif key.endswith("running_mean"):
        values = 0.1 * normal
    elif len(shape) >= 2:
        values = random.weight_gain * normal * np.sqrt(1 / np.prod(shape[1:]))
    elif len(shape) == 0 or key.endswith("weight"):
        values = 1 + 0.1 * normal
    else:
        values = random.bias_gain * 0.05 * normal
    return np.asarray(values, dtype=np.float32)


def _in_folder(folder: Path) -> Path:
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder} holds neither model.safetensors nor pytorch_model.bin; name a weight file")


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file ({error}); fetch it again") from error


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if not _looks_like_torch(path):
            raise WeightsError(f"{path} is damaged or not a weight file of torch; fetch it again") from error
        target = path.with_suffix(".safetensors")
        raise WeightsError(
            f"{path} would have to be unpickled, which can run any code in it, so it is refused; if you trust where it "
            f"comes from, convert it once with `fewshot weights convert {path} {target}` and name the result"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        # torch continues with advice on its own internals
        why = (str(error) or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise WeightsError(f"{path} is truncated or not a weight file of torch ({why}); fetch it again") from error


def _looks_like_torch(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(2)
    return start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, key) for pattern in patterns)


def _differs(key: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return key in given and given[key].shape != own[key].shape


def _shapes(key: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
    return ", ".join(map(str, keys[:_SHOWN_KEYS])) + more
