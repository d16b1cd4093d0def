"""Run the tasks of one unit on its images: batches of equal shape, perturbed inputs, out-of-memory backed off."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot.core.arrays import Float32Array
from fewshot.core.errors import FewshotError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.inputs.views import InputStep, gaussian_weights, input_noise
from fewshot.embeddings.pipeline.memory import is_out_of_memory
from fewshot.embeddings.pipeline.prepare import Input
from fewshot.embeddings.pipeline.settings import Precision
from fewshot.embeddings.pipeline.transfer import Downloads, upload
from fewshot.embeddings.pipeline.units import Task

_PENDING_BYTES = 256 << 20


@dataclass(frozen=True)
class Waiting:
    """One image waiting for its batch: its number in the unit, its pixel id and its input array."""

    number: int
    pixel_id: str
    array: NDArray[Any]


@dataclass
class Rows:
    """Features of some images of a unit: their numbers in it and, per layer, (n, D) float32."""

    numbers: list[int]
    layers: Mapping[str, Float32Array]


@dataclass
class Device:
    """Where networks run and in which arithmetic, as it came out once they were loaded.

    Args:
        name: ``cpu`` or ``cuda:N``; precision: of the networks' arithmetic.
        batch: images per batch, lowered for the rest of the run when memory runs out.
        channels_last: names of the backbones whose batches lie channels last; compiled: by ``torch.compile``.
    """

    name: torch.device
    precision: Precision
    batch: int
    channels_last: frozenset[str] = frozenset()
    compiled: bool = False

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context networks run in."""
        if self.precision == "fp32":
            return nullcontext()
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.name.type, dtype=kind)


class UnitForward:
    """The networks at work on one unit: takes its prepared images in order, hands on features as batches fill.

    Args:
        tasks: what to compute; inputs: those that prepared images follow.
        backbones: loaded backbones by card name.
        downloads: what fetches features from the device; take: given each batch's task and rows, in its thread.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        inputs: Sequence[Input],
        backbones: Mapping[str, Backbone],
        device: Device,
        *,
        downloads: Downloads,
        take: Callable[[Task, Rows], None],
    ) -> None:
        self.device = device
        self.backbones = backbones
        self.by_input = [[task for task in tasks if task.input == wanted] for wanted in inputs]
        self.downloads = downloads
        self.take = take
        self._waiting: list[dict[tuple[int, ...], list[Waiting]]] = [{} for _ in inputs]
        self._bytes = 0

    def add(self, slot: int, waiting: Waiting) -> None:
        """Put one image's input into its batch, and run the batch when it is full."""
        groups = self._waiting[slot]
        group = groups.setdefault(waiting.array.shape, [])
        group.append(waiting)
        self._bytes += waiting.array.nbytes
        if len(group) >= self.device.batch:
            self._run(slot, waiting.array.shape)
        elif self._bytes > _PENDING_BYTES:
            shape = max(groups, key=lambda shape: sum(part.array.nbytes for part in groups[shape]))
            self._run(slot, shape)

    def finish(self) -> None:
        """Run the batches that did not fill, as batches never cross a unit, and wait until all features are taken."""
        for slot, groups in enumerate(self._waiting):
            for shape in list(groups):
                self._run(slot, shape)
        self.downloads.drain()

    def _run(self, slot: int, shape: tuple[int, ...]) -> None:
        group = self._waiting[slot].pop(shape)
        self._bytes -= sum(part.array.nbytes for part in group)
        numbers = [part.number for part in group]
        for task in self.by_input[slot]:
            started = time.perf_counter()
            for start, found in self._pieces(task, group):
                some = numbers[start : start + len(next(iter(found.values())))]
                self.downloads.fetch(found, partial(self._hand_on, task, some), started=started)

    def _hand_on(self, task: Task, numbers: list[int], layers: dict[str, Float32Array]) -> None:
        self.take(task, Rows(numbers, layers))

    def _pieces(self, task: Task, group: list[Waiting]) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield (start, {layer: (n, D)}); what does not fit the memory is halved, and so are all later batches."""
        backbone = self.backbones[task.backbone]
        most = min(backbone.card.batch or len(group), len(group))
        start = 0
        while start < len(group):
            some = group[start : start + most]
            try:
                found = self._features(backbone, task, some)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                most = self._halved(len(some), task, group[0])
                continue
            yield start, found
            start += len(some)

    def _features(self, backbone: Backbone, task: Task, some: list[Waiting]) -> dict[str, Tensor]:
        batch = upload([part.array for part in some], self.device.name)
        if task.backbone in self.device.channels_last and batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        return forward(backbone, batch, task, [part.pixel_id for part in some], self.device)

    def _halved(self, size: int, task: Task, one: Waiting) -> int:
        if size == 1:
            raise FewshotError(
                f"one image of {one.array.shape} does not fit the memory of {self.device.name} for "
                f"{task.backbone!r}; use --device cpu, or leave large images out"
            ) from None
        if self.device.name.type == "cuda":
            self.downloads.drain()
            torch.cuda.empty_cache()
        self.device.batch = min(self.device.batch, size // 2)
        return size // 2


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
    """3x3 Gaussian, reflected border; AlecImhofUni/ProjectGenAI, training_free_detect.py, has sigma 0.55 for MINDER."""
    weights = torch.from_numpy(gaussian_weights(step.sigma, radius=1)).to(pixels)
    padded = torch.nn.functional.pad(pixels, (1, 1, 1, 1), mode="reflect")
    rows = sum(weights[k] * padded[..., k : padded.shape[-2] - 2 + k, :] for k in range(3))
    assert isinstance(rows, Tensor)
    blurred = sum(weights[k] * rows[..., k : rows.shape[-1] - 2 + k] for k in range(3))
    assert isinstance(blurred, Tensor)
    return blurred


def _unit_unsharp(pixels: Tensor, step: InputStep, pixel_ids: Sequence[str]) -> Tensor:
    """clip(2x - b): blur's counterpart in Contrastive Blur (arXiv 2411.19117)."""
    return (2.0 * pixels - _unit_blur(pixels, step, pixel_ids)).clamp(0.0, 1.0)


_UNIT_STEPS: Mapping[str, Callable[[Tensor, InputStep, Sequence[str]], Tensor]] = {
    "input-noise": _unit_noise,
    "input-blur": _unit_blur,
    "input-unsharp": _unit_unsharp,
}


def _noise(like: Tensor, step: InputStep, pixel_ids: Sequence[str]) -> Tensor:
    drawn = [input_noise(tuple(like.shape[1:]), step, pixel_id=pixel_id) for pixel_id in pixel_ids]
    return torch.from_numpy(np.stack(drawn)).to(like.device)
