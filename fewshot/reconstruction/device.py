"""Where training runs: the device that was asked for, or a plain refusal."""

import torch

from fewshot.core.errors import DeviceError


def training_device(name: str) -> torch.device:
    """Return the device of ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; only ``auto`` may fall back to the CPU.

    Raises:
        DeviceError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device {name!r} is not there ({error}); choose --device cpu or auto") from error
    return device
