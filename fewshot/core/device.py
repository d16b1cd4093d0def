"""Read a device as users write it: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; only ``auto`` chooses for itself."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fewshot.core.errors import DeviceError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DeviceName:
    """A device as it was written, before anybody has looked whether it exists.

    Args:
        kind: ``auto``, ``cpu`` or ``cuda``.
        number: of one CUDA device, from 0; None where none was named.
    """

    kind: Literal["auto", "cpu", "cuda"]
    number: int | None = None


def parse_device(name: str, *, option: str = "--device") -> DeviceName:
    """Return what ``name`` says; needs no library.

    >>> parse_device("cuda:1")
    DeviceName(kind='cuda', number=1)

    Raises:
        DeviceError: it is none of the four forms.
    """
    if name == "auto":
        return DeviceName("auto")
    if name == "cpu":
        return DeviceName("cpu")
    found = re.fullmatch(r"cuda(?::([0-9]+))?", name)
    if found is None:
        raise DeviceError(f"{option} {name!r} is not a device; give auto, cpu, cuda or cuda:N")
    return DeviceName("cuda", None if found[1] is None else int(found[1]))


def torch_device(name: str, *, option: str = "--device") -> "torch.device":
    """Return the torch device of ``name``; ``auto`` is CUDA where torch can use it, else the CPU.

    Raises:
        DeviceError: not a device, or not one that this machine has.
    """
    import torch

    wanted = parse_device(name, option=option)
    if wanted.kind == "cpu" or (wanted.kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(f"{option} {name}: this machine has no CUDA device that torch can use; give {option} cpu")
    count = torch.cuda.device_count()
    if wanted.number is not None and wanted.number >= count:
        raise DeviceError(
            f"{option} {name}: the last CUDA device of this machine is cuda:{count - 1}; give one up to it, or cpu"
        )
    return torch.device("cuda") if wanted.number is None else torch.device("cuda", wanted.number)
