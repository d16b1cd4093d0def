"""Read a checkpoint without trusting it, and fill a network from it key by key.

``torch.load(weights_only=True)`` or safetensors only. The order of unwrapping and the prefixes are those of the public
detectors' files: ``model`` in CNNDetection, SAFE and AIDE, ``netC`` in Gram-Net, ``model_state_dict`` in Fleet,
``module.`` after DataParallel.
"""

import argparse
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot.core.errors import WeightsError
from fewshot.core.regular_files import require_regular
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.weights.locate import IN_FOLDER
from fewshot.embeddings.weights.plain_tensors import misfit, oddity
from fewshot.embeddings.weights.torch_file import TorchFileError, load_plain

State = dict[str, Tensor]

WRAPPERS = ("model", "state_dict", "model_state_dict", "netC", "net", "encoder")
PREFIXES = ("module.", "_orig_mod.")
DEEPEST = 8  # wrappers within wrappers; a mapping that holds itself has no end
_SHOWN_KEYS = 4
_FILLING_THREADS = 4
# Plain holders of values that training scripts save beside the tensors; making one runs nothing.
_HARMLESS: list[Any] = [argparse.Namespace, PosixPath]


def read_checkpoint(path: Path, *, entry: str = "") -> State:
    """Return the tensors of a file, unwrapped and without the prefixes of wrappers, on the CPU.

    Args:
        path: a ``.safetensors`` file, a file of ``torch.save``, or a Hugging Face folder with ``model.safetensors``.
        entry: what the wanted network stands under, where a file of ``torch.save`` holds several; files without such an
            entry are read as others are.

    Raises:
        WeightsError: damaged, of no known form, a file that would need unpickling, or one with other tensors than plain
            dense ones.
    """
    if path.is_dir():
        path = _in_folder(path)
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    else:
        content = unwrap(_under(entry, _read_torch(path)), path=path)
    state = strip(content, path=path)
    odd = [f"{key} is {found}" for key, value in state.items() if (found := oddity(value))]
    if odd:
        raise WeightsError(
            f"{path} holds other tensors than plain dense ones: {_listed(odd)}; save the state_dict of "
            f"the network as float32"
        )
    return state


def unwrap(content: Any, *, path: Path) -> State:
    """Return the mapping of tensors inside one of ``WRAPPERS``.

    Raises:
        WeightsError: no mapping of tensors by text, or several networks beside each other.
    """
    for _ in range(DEEPEST):
        inner = _inner(content, path) if isinstance(content, Mapping) else None
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not a mapping of tensors; give the state_dict of the network"
        )
    others = [key for key, value in content.items() if not isinstance(value, Tensor) or not isinstance(key, str)]
    if others or not content:
        raise WeightsError(
            f"{path} does not hold a plain state_dict: {_listed(others) if others else 'it is empty'}; known wrappers "
            f"are {', '.join(WRAPPERS)}"
        )
    return dict(content)


def strip(state: Mapping[str, Tensor], *, path: Path) -> State:
    """Return the state without leading ``module.`` and ``_orig_mod.``, which wrappers of torch put before keys.

    Raises:
        WeightsError: two keys are the same without them.
    """
    try:
        return renamed(state, _without_prefixes)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}; save the state_dict of one network alone") from error


def renamed(state: Mapping[str, Tensor], rename: Callable[[str], str]) -> State:
    """Return the state under other keys.

    Raises:
        ValueError: two keys would become one.
    """
    found: State = {}
    before: dict[str, str] = {}
    for key, value in state.items():
        new = rename(key)
        if new in found:
            raise ValueError(f"the keys {before[new]!r} and {key!r} both name {new!r}")
        found[new], before[new] = value, key
    return found


def fill_strictly(network: nn.Module, state: Mapping[str, Tensor], *, ignorable: Sequence[str], what: str) -> None:
    """Copy a state into a network whose keys and shapes it must match exactly.

    Args:
        network: receives the values, converted to its own dtypes.
        state: the checkpoint's tensors.
        ignorable: regular expressions of keys, documented by the member, that may stand in the file unused.
        what: the file and the backbone, for the message.

    Raises:
        WeightsError: missing or unexpected keys, shapes that differ, or values that the network cannot hold (integers
            for floats, NaN, too large); they are named.
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
    unusable = [f"{key} is {found}" for key, value in given.items() if (found := misfit(value, own[key]))]
    if unusable:
        raise WeightsError(
            f"{what} cannot be used: {_listed(unusable)}; give this detector's own checkpoint, saved as float32"
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
    for name in IN_FOLDER:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder} holds neither {' nor '.join(IN_FOLDER)}; name a weight file")


def _under(entry: str, content: Any) -> Any:
    """Return what stands under an entry of a file, or all of it where there is none such."""
    found = content.get(entry) if entry and isinstance(content, Mapping) else None
    return found if isinstance(found, Mapping) else content


def _inner(content: Mapping[Any, Any], path: Path) -> Mapping[Any, Any] | None:
    """Return the mapping under a known wrapper, None where there is none."""
    found = [name for name in WRAPPERS if isinstance(content.get(name), Mapping)]
    networks = [name for name in found if any(isinstance(value, Tensor) for value in content[name].values())]
    if len(networks) > 1:
        raise WeightsError(
            f"{path} holds several networks ({', '.join(networks)}), and which one is meant is not known; save the "
            f"state_dict of one alone"
        )
    chosen = next(iter(networks or found), None)
    return None if chosen is None else content[chosen]


def _without_prefixes(key: str) -> str:
    while key.startswith(PREFIXES):
        key = key.removeprefix("module.").removeprefix("_orig_mod.")
    return key


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    try:
        require_regular(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    try:
        return dict(load_file(path))
    except Exception as error:  # SafetensorError, OSError, and what its number types raise that torch does not have
        why = str(error) or type(error).__name__
        raise WeightsError(f"{path} is damaged or not a safetensors file ({why}); fetch it again") from error


def _read_torch(path: Path) -> Any:
    try:
        return load_plain(path, harmless=_HARMLESS)
    except TorchFileError as error:
        raise WeightsError(_sentence(path, error)) from error


def _sentence(path: Path, error: TorchFileError) -> str:
    if error.reason == "unreadable":
        return f"{path} cannot be read ({error.detail}); check the path given to --weights"
    if error.reason == "memory":
        return f"{path} is too large to be read: {error.detail}; close other programs or take a larger machine"
    if error.reason == "foreign":
        return f"{path} is damaged or not a weight file of torch ({error.detail}); fetch it again"
    if error.reason == "damaged":
        return f"{path} is truncated or damaged ({error.detail}); fetch it again"
    target = path.with_suffix(".safetensors")
    return (
        f"{path} would have to be unpickled, which can run any code in it, so it is refused ({error.detail}); if you "
        f"trust where it comes from, convert it once with `fewshot weights convert {path} {target}` and name the result"
    )


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, key) for pattern in patterns)


def _differs(key: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return key in given and given[key].shape != own[key].shape


def _shapes(key: str, given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
    return ", ".join(map(str, keys[:_SHOWN_KEYS])) + more
