"""How features are computed: on which device, in which precision, in batches of how many; no torch until asked."""

import os
from dataclasses import dataclass, replace
from typing import Literal, get_args

from fewshot.core.device import torch_device
from fewshot.core.errors import DeviceError, OptionError
from fewshot.embeddings.inputs.decoders import PILLOW
from fewshot.embeddings.inputs.views import PixelStep

Precision = Literal["fp32", "bf16", "fp16"]
AUTO = "auto"
DECODE_SECONDS = 120.0  # what one image may take to be read, decoded and resized
_IMAGES_PER_WORKER = 48  # below that, starting a process costs more than it saves
DECODE_BYTES = 8 << 30  # what a decoding process may allocate; a clean pass over the largest admitted image takes 3 GB


@dataclass(frozen=True)
class PixelSettings:
    """What is done to every image before views and geometries.

    Args:
        decoder: one of ``inputs.decoders.DECODERS``.
        reencode: pixel steps applied to every decoded image first, whatever its class.
    """

    decoder: str = PILLOW
    reencode: tuple[PixelStep, ...] = ()


@dataclass(frozen=True)
class ComputeSettings:
    """Where networks run and in which arithmetic.

    Args:
        devices: ``cpu``, ``cuda:N``; one process works on each where there are several.
        precision: of the networks' arithmetic.
        batch_size: images per batch; 0 lets the free memory decide once the networks are loaded.
        channels_last: names of the backbones whose batches lie channels last; None tries every network.
        compiled: whether ``torch.compile`` compiles the networks.
        workers: decoding processes of each device; 0 decodes in the networks' process.
        decode_seconds: what one image may take before its decoding process is replaced.
    """

    devices: tuple[str, ...] = ("cpu",)
    precision: Precision = "fp32"
    batch_size: int = 0
    channels_last: frozenset[str] | None = None
    compiled: bool = False
    workers: int = 0
    decode_seconds: float = DECODE_SECONDS

    @property
    def device(self) -> str:
        """The first device."""
        return self.devices[0]

    def with_workers(self, workers: int) -> "ComputeSettings":
        """Return the same with another number of decoding processes."""
        return replace(self, workers=workers)


def devices_of(device: str) -> tuple[str, ...]:
    """Return the devices that ``--device`` names: ``auto`` and ``cuda`` are every GPU, commas separate several.

    Raises:
        DeviceError: not a device, or one that this machine does not have.
    """
    import torch

    names = [name.strip() for name in device.split(",")]
    if names in ([AUTO], ["cuda"]) and torch.cuda.is_available():
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return tuple(str(torch_device(name)) for name in names)


def precision_of(precision: str, device: str) -> Precision:
    """Return the precision that was asked for; ``auto`` is fp32 on the CPU and bf16 on CUDA.

    Raises:
        DeviceError: the device cannot compute in this precision.
    """
    if precision == AUTO:
        precision = "bf16" if device.startswith("cuda") else "fp32"
    if precision not in get_args(Precision):
        raise DeviceError(f"--precision {precision!r}: give auto, {', '.join(get_args(Precision))}")
    if precision == "fp16" and device == "cpu":
        raise DeviceError("precision fp16 needs a CUDA device; on the CPU give --precision fp32 or bf16")
    chosen: Precision = precision  # type: ignore[assignment]  # one of them, as just checked
    return chosen


def batch_size_of(batch_size: int | str) -> int:
    """Return the batch size that was asked for, 0 for ``auto``.

    Raises:
        OptionError: not a batch size.
    """
    if batch_size == AUTO:
        return 0
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise OptionError(f"--batch-size {batch_size!r}: give auto or a whole number of at least 1")
    return int(batch_size)


def workers_of(workers: int | str, *, images: int | None, devices: int = 1) -> int:
    """Return how many decoding processes each device has; ``auto`` takes one for each processor that this one may use.

    Args:
        images: how many are to be decoded in all, few of which need fewer processes; None where that is not known.

    Raises:
        OptionError: no number of processes.
    """
    if workers != AUTO:
        if not str(workers).isdecimal():
            raise OptionError(f"--workers {workers!r}: give auto or a whole number, 0 for none")
        return int(workers)
    processors = -(-len(os.sched_getaffinity(0)) // devices)
    return processors if images is None else min(processors, images // (_IMAGES_PER_WORKER * devices))
