"""Turn a checkpoint that needs unpickling into safetensors, on purpose; nothing else in the package unpickles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot.core.errors import OutputError, WeightsError
from fewshot.embeddings.weights.checkpoint import strip, unwrap
from fewshot.embeddings.weights.tensors import write_tensors


def convert(source: Path, target: Path) -> int:
    """Write the tensors of ``source`` to the safetensors file ``target``; return their number.

    This runs whatever code the file holds: call it for files whose origin you trust only.

    Raises:
        WeightsError: no tensors could be read.
        OutputError: ``target`` exists or cannot be written.
    """
    if target.suffix != ".safetensors" or target.exists():
        raise OutputError(f"{target}: the target must be a new file whose name ends in .safetensors")
    tensors = {key: value.contiguous().clone() for key, value in strip(_tensors(source)).items()}
    write_tensors(target, tensors, option="TARGET")
    return len(tensors)


def _tensors(source: Path) -> Mapping[str, Tensor]:
    try:
        content = _unpickled(source)
    except Exception as error:  # any exception can come out of code in a file
        raise WeightsError(f"{source} cannot be unpickled ({type(error).__name__}: {error}); fetch it again") from error
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    return unwrap(_plain(content), path=source)


def _plain(content: Any) -> Any:
    """Leave out what is not a tensor (epoch, arguments, optimiser) at the level where the tensors lie."""
    if isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values()):
        return {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    return content


def _unpickled(source: Path) -> Any:
    try:
        return torch.load(source, map_location="cpu", weights_only=False)
    except RuntimeError:
        return torch.jit.load(source, map_location="cpu")  # type: ignore[no-untyped-call]  # torch is untyped here
