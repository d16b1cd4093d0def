"""Turn a checkpoint that needs unpickling into safetensors, on purpose; nothing else in the package unpickles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot.core.errors import OutputError, WeightsError
from fewshot.core.regular_files import open_regular
from fewshot.embeddings.weights.checkpoint import DEEPEST, strip, unwrap
from fewshot.embeddings.weights.plain_tensors import oddity
from fewshot.embeddings.weights.tensors import write_tensors
from fewshot.embeddings.weights.torch_file import TorchFileError, check_container


def convert(source: Path, target: Path) -> int:
    """Write the tensors of ``source`` to the safetensors file ``target``; return their number.

    This runs whatever code the file holds: call it for files whose origin you trust only.

    Raises:
        WeightsError: no tensors could be read.
        OutputError: ``target`` exists or cannot be written.
    """
    if target.suffix != ".safetensors" or target.exists():
        raise OutputError(f"{target}: the target must be a new file whose name ends in .safetensors")
    state = strip(_tensors(source), path=source)
    if odd := [f"{key} is {found}" for key, value in state.items() if (found := oddity(value))]:
        raise WeightsError(f"{source} holds other tensors than plain dense ones: {odd[0]}; nothing was written")
    tensors = {key: value.contiguous().clone() for key, value in state.items()}
    write_tensors(target, tensors, option="TARGET")
    return len(tensors)


def _tensors(source: Path) -> Mapping[str, Tensor]:
    load = _script if _is_script(source) else _unpickled
    try:
        content = load(source)
    except Exception as error:  # any exception can come out of code in a file
        why = str(error).partition("\n")[0]
        raise WeightsError(f"{source} cannot be unpickled ({type(error).__name__}: {why}); fetch it again") from error
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    return unwrap(_plain(content), path=source)


def _is_script(source: Path) -> bool:
    """Check kind, checksums and size before anything is run; return whether it is a TorchScript archive.

    Raises:
        WeightsError: it cannot be read, is damaged, or torch did not write it.
    """
    try:
        with open_regular(source) as stream:
            check_container(stream)
    except TorchFileError as error:
        if error.reason == "code":
            return True
        raise WeightsError(f"{source} cannot be converted: {error.detail}; fetch it again") from error
    except OSError as error:
        raise WeightsError(f"{source} cannot be read ({error.strerror or error}); check the path") from error
    return False


def _plain(content: Any, depth: int = 0) -> Any:
    """Leave out what is not a tensor (epoch, arguments, optimiser) at the level where the tensors lie."""
    if isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values()):
        return {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if isinstance(content, Mapping) and depth < DEEPEST:
        return {key: _plain(value, depth + 1) for key, value in content.items()}
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    return content


def _unpickled(source: Path) -> Any:
    return torch.load(source, map_location="cpu", weights_only=False)


def _script(source: Path) -> Any:
    return torch.jit.load(source, map_location="cpu")  # type: ignore[no-untyped-call]  # torch is untyped here
