"""Write tensors as a safetensors file, whole or not at all."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fewshot.core.files import atomic_path


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None, option: str = "-o"
) -> None:
    """Write tensors by name, with ``metadata`` in the file's header.

    Args:
        path: the file to write; an existing one is replaced.
        tensors: contiguous, on the CPU, no two sharing memory.
        metadata: text by name.
        option: what the user changes to write elsewhere, for the message.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(path, option=option) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=None if metadata is None else dict(metadata))
        except SafetensorError as error:  # what the disk refused, as safetensors reports it
            number = re.search(r"os error (\d+)", str(error))
            raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from error
