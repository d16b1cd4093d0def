"""Run the tasks of one unit on its images: batches of equal shape, perturbed inputs, out-of-memory backed off."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot.core.arrays import Float32Array
from fewshot.core.errors import DeviceError, FewshotError, OptionError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.plan import Task
from fewshot.embeddings.prepare import Input
from fewshot.embeddings.views import InputStep, gaussian_weights, input_noise

Precision = Literal["fp32", "bf16", "fp16"]
_PENDING_BYTES = 256 << 20
CPU_BATCH, CUDA_BATCH = 32, 256


@dataclass(frozen=True)
class Waiting:
    """One image waiting for its batch: its place in the unit, its pixel id and its input array."""

    place: int
    pixel_id: str
    array: NDArray[Any]


@dataclass
class Rows:
    """Features of some images of a unit: their places and, per layer, (n, D) float32."""

    places: list[int]
    layers: Mapping[str, Float32Array]


@dataclass
class Device:
    """Where networks run and in which arithmetic.

    Args:
        name: ``cpu`` or ``cuda:N``; precision: of the networks' arithmetic.
        batch: images per batch, lowered for the rest of the run when memory runs out.
    """

    name: torch.device
    precision: Precision
    batch: int
    seconds: float = field(default=0.0)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context networks run in."""
        if self.precision == "fp32":
            return nullcontext()
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.name.type, dtype=kind)


def device_of(device: str, precision: str, batch_size: int | str) -> Device:
    """Return the device, precision and batch size that were asked for; ``auto`` chooses.

    Raises:
        DeviceError: the device is not there, or cannot compute in this precision.
        OptionError: not a batch size.
    """
    name = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
    try:
        place = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"--device {device!r} is no device; give auto, cpu, cuda or cuda:N") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"--device {device} was asked for and this machine has no usable CUDA device; give --device cpu"
        )
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"--device {device}: there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    if place.type not in ("cpu", "cuda"):
        raise DeviceError(f"--device {device}: only cpu and cuda are supported")
    if precision == "auto":
        precision = "bf16" if place.type == "cuda" else "fp32"
    if precision not in ("fp32", "bf16", "fp16"):
        raise DeviceError(f"--precision {precision!r}: give auto, fp32, bf16 or fp16")
    if precision == "fp16" and place.type == "cpu":
        raise DeviceError("--precision fp16 needs a CUDA device; on the CPU give fp32 or bf16")
    chosen: Precision = "fp32" if precision == "fp32" else "bf16" if precision == "bf16" else "fp16"
    return Device(place, chosen, _batch(batch_size, CUDA_BATCH if place.type == "cuda" else CPU_BATCH))


def _batch(batch_size: int | str, default: int) -> int:
    if batch_size == "auto":
        return default
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise OptionError(f"--batch-size {batch_size!r}: give auto or a whole number of at least 1")
    return int(batch_size)


class UnitForward:
    """The networks at work on one unit: takes its prepared images in order, yields features as batches fill.

    Args:
        tasks: what to compute; inputs: the recipe's inputs, which prepared images follow.
        backbones: loaded backbones by card name.
    """

    def __init__(
        self, tasks: Sequence[Task], inputs: Sequence[Input], backbones: Mapping[str, Backbone], device: Device
    ) -> None:
        self.device = device
        self.backbones = backbones
        self.by_input = [[task for task in tasks if task.input == wanted] for wanted in inputs]
        self._waiting: list[dict[tuple[int, ...], list[Waiting]]] = [{} for _ in inputs]
        self._bytes = 0

    def add(self, slot: int, waiting: Waiting) -> Iterator[tuple[Task, Rows]]:
        """Put one image's input into its batch; yield features when the batch is full."""
        groups = self._waiting[slot]
        group = groups.setdefault(waiting.array.shape, [])
        group.append(waiting)
        self._bytes += waiting.array.nbytes
        if len(group) >= self.device.batch:
            yield from self._run(slot, waiting.array.shape)
        elif self._bytes > _PENDING_BYTES:
            shape = max(groups, key=lambda shape: sum(part.array.nbytes for part in groups[shape]))
            yield from self._run(slot, shape)

    def finish(self) -> Iterator[tuple[Task, Rows]]:
        """Run the batches that did not fill; batches never cross a unit."""
        for slot, groups in enumerate(self._waiting):
            for shape in list(groups):
                yield from self._run(slot, shape)

    def _run(self, slot: int, shape: tuple[int, ...]) -> Iterator[tuple[Task, Rows]]:
        group = self._waiting[slot].pop(shape)
        self._bytes -= sum(part.array.nbytes for part in group)
        started = time.perf_counter()
        batch = torch.from_numpy(np.stack([part.array for part in group]))
        if self.device.name.type == "cuda":
            batch = batch.pin_memory().to(self.device.name, non_blocking=True)
        results = [(task, self._features(task, batch, group)) for task in self.by_input[slot]]
        places = [part.place for part in group]
        rows = [(task, Rows(places, _to_numpy(found))) for task, found in results]
        self.device.seconds += time.perf_counter() - started
        yield from rows

    def _features(self, task: Task, batch: Tensor, group: list[Waiting]) -> dict[str, Tensor]:
        """Return {layer: (n, D)}; a batch that does not fit the memory is halved, and so are all later ones."""
        backbone = self.backbones[task.backbone]
        most = backbone.card.batch or len(batch)
        pieces: list[dict[str, Tensor]] = []
        start = 0
        while start < len(batch):
            size = min(most, len(batch) - start)
            try:
                ids = [part.pixel_id for part in group[start : start + size]]
                pieces.append(forward(backbone, batch[start : start + size], task, ids, self.device))
                start += size
            except torch.OutOfMemoryError:
                if size == 1:
                    raise FewshotError(
                        f"one image of {tuple(batch.shape[1:])} does not fit the memory of {self.device.name} for "
                        f"{task.backbone!r}; use --device cpu, or leave large images out"
                    ) from None
                torch.cuda.empty_cache()
                most = max(1, size // 2)
                self.device.batch = min(self.device.batch, most)
        return {layer: torch.cat([piece[layer] for piece in pieces]) for layer in pieces[0]}


def forward(
    backbone: Backbone, batch: Tensor, task: Task, pixel_ids: Sequence[str], device: Device
) -> dict[str, Tensor]:
    """Return the features of one batch: {layer: (N, D)} on the device.

    Args:
        batch: (N, C, H, W) as the geometry left it, on the device.
        pixel_ids: the pixel id of each image, which seeds its noise.
    """
    with device.autocast():
        if task.input_step is None:
            found = backbone.embed(batch)
        else:
            with torch.inference_mode():
                inputs = perturbed_input(backbone, batch, task.input_step, pixel_ids)
                found = {layer: part.flatten(1) for layer, part in backbone.features(inputs).items()}
    return {layer: found[layer] for layer in task.layers if layer in found}


def perturbed_input(backbone: Backbone, batch: Tensor, step: InputStep, pixel_ids: Sequence[str]) -> Tensor:
    """Return the normalised input after one perturbation: (N, C, H, W) float32 on the backbone's device."""
    if step.unit == "normalised":
        normalised = backbone.normalise(batch)
        return normalised + step.sigma * _noise(normalised, step, pixel_ids)
    pixels = batch.to(backbone.device).to(torch.float32)
    if batch.dtype == torch.uint8:
        pixels = pixels.div(255.0)
    changed = _UNIT_STEPS[step.kind](pixels, step, pixel_ids)
    return backbone.normalise(changed.mul(255.0) if backbone.card.input.divisor == 1.0 else changed)


def _unit_noise(pixels: Tensor, step: InputStep, pixel_ids: Sequence[str]) -> Tensor:
    return (pixels + step.sigma * _noise(pixels, step, pixel_ids)).clamp(0.0, 1.0)


def _unit_blur(pixels: Tensor, step: InputStep, _: Sequence[str]) -> Tensor:
    """3x3 Gaussian, reflected border (specs/methods.md 8.1: sigma 0.55)."""
    weights = torch.from_numpy(gaussian_weights(step.sigma, radius=1)).to(pixels)
    padded = torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="reflect")
    rows = sum(weights[k] * padded[..., k : padded.shape[-2] - 2 + k, :] for k in range(3))
    assert isinstance(rows, Tensor)
    blurred = sum(weights[k] * rows[..., k : rows.shape[-1] - 2 + k] for k in range(3))
    assert isinstance(blurred, Tensor)
    return blurred


def _unit_unsharp(pixels: Tensor, step: InputStep, pixel_ids: Sequence[str]) -> Tensor:
    """clip(2x - b): blur's counterpart (specs/methods.md 8.1)."""
    return (2.0 * pixels - _unit_blur(pixels, step, pixel_ids)).clamp(0.0, 1.0)


_UNIT_STEPS: Mapping[str, Callable[[Tensor, InputStep, Sequence[str]], Tensor]] = {
    "input-noise": _unit_noise,
    "input-blur": _unit_blur,
    "input-unsharp": _unit_unsharp,
}


def _noise(like: Tensor, step: InputStep, pixel_ids: Sequence[str]) -> Tensor:
    drawn = [input_noise(tuple(like.shape[1:]), step, pixel_id=pixel_id) for pixel_id in pixel_ids]
    return torch.from_numpy(np.stack(drawn)).to(like.device)


def _to_numpy(found: Mapping[str, Tensor]) -> dict[str, Float32Array]:
    return {layer: part.to(torch.float32).cpu().numpy() for layer, part in found.items()}
