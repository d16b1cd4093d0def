"""THE path from images to features: decode, re-encode, perturb, resize, normalise, network, in the recorded precision.

Engines send the units of an extraction through it, and searches their queries, so that an image gets the same row
whoever asks. What it does follows from a ``Plan``: of an extraction, or of what a store's layer records
(``plan_of_layer``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import TracebackType
from typing import Any, Self

import torch

from fewshot.core.errors import StoreError
from fewshot.core.provenance import stack_versions
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.inputs.decoders import version_of
from fewshot.embeddings.layouts.collection import Collection
from fewshot.embeddings.pipeline.decode_pool import WorkerPool, prepared_in_order
from fewshot.embeddings.pipeline.forward import Device, UnitForward, Waiting
from fewshot.embeddings.pipeline.memory import fitting_batch
from fewshot.embeddings.pipeline.plan import Plan
from fewshot.embeddings.pipeline.prepare import Input, Job, Preparation, Prepared
from fewshot.embeddings.pipeline.timing import Timing
from fewshot.embeddings.pipeline.transfer import Downloads
from fewshot.embeddings.pipeline.tuning import compile_networks, lay_channels_last, put_channels_last
from fewshot.embeddings.pipeline.unit_result import UnitResult
from fewshot.embeddings.pipeline.units import Task, Unit
from fewshot.embeddings.store.failures import Failure

_POOLS = 2  # kept at once: a detector's verdicts want images as they are, and now and then re-encoded as well


@dataclass(frozen=True)
class ImagesDone:
    """Some images went through the networks, or failed on their way.

    Args:
        images: how many, since the last event.
        failures: of these images, or of single features of them.
    """

    images: int
    failures: tuple[Failure, ...] = ()


class Embedder:
    """The networks of a plan, loaded on its first device, at work on its images; a context manager.

    Raises:
        WeightsError: a file is missing, does not fit, or is not the planned one.
    """

    def __init__(self, plan: Plan) -> None:
        compute = plan.compute
        self.plan = plan
        self.backbones = {each.reference.name: each.load(compute.device) for each in plan.backbones}
        self.device = _device(plan, self.backbones)
        self._timing, self._taken = Timing(), Timing()
        self._downloads = Downloads(self.device.name)
        self._pools: list[WorkerPool] = []  # by what they prepare, that of the latest stream last
        self._versions = {"decoder_version": version_of(plan.pixels.decoder), "versions": stack_versions()}

    def __enter__(self) -> Self:
        self._downloads.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_pools(keep=0)
        self._downloads.__exit__(kind, error, trace)

    def go_on_with(self, samples: Collection) -> None:
        """Take other images, for units that refer to them; the networks and the decoding processes stay."""
        self.plan = replace(self.plan, samples=samples, keys=tuple(samples.keys), known={})

    def execution(self, task: Task) -> Mapping[str, Any]:
        """Return how the features of a task were computed so far, JSON values, to stand in their provenance."""
        return {
            **self._versions,
            "device": str(self.device.name),
            "batch_size": self.device.batch,
            "channels_last": task.backbone in self.device.channels_last,
            "compiled": self.device.compiled,
        }

    def take_timing(self) -> Timing:
        """Return where the time went since the last call."""
        self._timing.forward = self._downloads.seconds
        since = self._timing - self._taken
        self._taken = replace(self._timing)
        return since

    def results(self, units: Sequence[Unit]) -> Iterator[ImagesDone | UnitResult]:
        """Yield the results of some units in order, and in between what is done of the next.

        Units of equal tasks go through the decoding processes as one stream.

        Raises:
            StoreError: the decoder gives other pixels of an image than it gave the store that is added to.
            FewshotError: a network does not fit the memory.
        """
        for tasks, group in groupby(units, key=lambda unit: unit.tasks):
            yield from self._stream(tasks, list(group))

    def _stream(self, tasks: tuple[Task, ...], units: list[Unit]) -> Iterator[ImagesDone | UnitResult]:
        inputs = tuple(dict.fromkeys(task.input for task in tasks))
        samples = self.plan.samples
        prepared = self._prepared(
            Preparation(samples.roots, samples.layouts, inputs, self.plan.pixels), self._jobs(units)
        )
        for unit in units:
            yield from self._unit(unit, inputs, prepared)
        next(prepared, None)  # ends the stream, so that its processes are free for the next

    def _prepared(self, preparation: Preparation, jobs: Iterator[Job]) -> Iterator[Prepared]:
        compute = self.plan.compute
        pool = self._started_pool(preparation) if compute.workers else None
        ended = False
        try:
            yield from prepared_in_order(
                preparation, jobs, workers=compute.workers, decode_seconds=compute.decode_seconds, pool=pool
            )
            ended = True
        finally:
            if not ended:  # given up half-way: the processes still hold jobs of it
                self._close_pools(keep=0)

    def _started_pool(self, preparation: Preparation) -> WorkerPool:
        """Return the decoding processes, those of an earlier stream where it prepared images in the same way."""
        compute = self.plan.compute
        pool = next((pool for pool in self._pools if pool.preparation == preparation), None)
        if pool is None:
            self._close_pools(keep=_POOLS - 1)
            pool = WorkerPool(preparation, compute.workers, decode_seconds=compute.decode_seconds).__enter__()
        else:
            self._pools.remove(pool)
        self._pools.append(pool)
        return pool

    def _close_pools(self, *, keep: int) -> None:
        while len(self._pools) > keep:
            self._pools.pop(0).__exit__()

    def _jobs(self, units: Iterable[Unit]) -> Iterator[Job]:
        plan, positions = self.plan, (position for unit in units for position in unit.positions)
        for number, position in enumerate(positions):
            key = plan.keys[position]
            sample, known = plan.index[key], plan.known.get(key)
            yield Job(
                number=number,
                root=plan.samples.root[sample],
                sample=plan.samples.samples[sample],
                known_sha256=known.sha256 if known else "",
                known_id=known.pixel_id if known else "",
            )

    def _unit(
        self, unit: Unit, inputs: tuple[Input, ...], stream: Iterator[Prepared]
    ) -> Iterator[ImagesDone | UnitResult]:
        result = UnitResult(unit, self.plan.keys, dtype=self.plan.dtype)
        networks = UnitForward(
            unit.tasks,
            inputs,
            self.backbones,
            self.device,
            downloads=self._downloads,
            take=lambda task, rows: result.take(task, rows.numbers, rows.layers),
        )
        said = 0
        for number in range(len(unit.positions)):
            self._feed(networks, result, number, next(stream))
            yield ImagesDone(1, tuple(result.failures[said:]))
            said = len(result.failures)
        networks.finish()
        if result.failures[said:]:  # rows that are not finite come last
            yield ImagesDone(0, tuple(result.failures[said:]))
        yield result

    def _feed(self, networks: UnitForward, result: UnitResult, number: int, prepared: Prepared) -> None:
        self._timing.add(prepared.seconds)
        if prepared.refused:
            raise StoreError(
                f"{prepared.refused} (the decoder differs); use the decoder and the version of it that the store was "
                f"made with, or another -o"
            )
        if prepared.metadata is None:
            result.unreadable(number, prepared.failure)
            return
        sample = self.plan.index[result.keys[number]]
        result.readable(number, self.plan.samples.samples[sample], self.plan.samples.root[sample], prepared)
        for slot, array in enumerate(prepared.inputs):
            if isinstance(array, str):
                for task in networks.by_input[slot]:
                    result.lacking(number, task, array)
            else:
                networks.add(slot, Waiting(number, prepared.metadata.id, array))


def embed_all(plan: Plan, unit: Unit) -> UnitResult:
    """Return the features of one unit in memory; nothing is written."""
    with Embedder(plan) as embedder:
        (result,) = (found for found in embedder.results([unit]) if isinstance(found, UnitResult))
    return result


def _device(plan: Plan, backbones: Mapping[str, Backbone]) -> Device:
    """Choose the batch size where that was left open, lay networks out for speed, and have them compiled if wanted."""
    compute, networks = plan.compute, list(backbones.values())
    name = torch.device(compute.device)
    batch = compute.batch_size or fitting_batch(name, networks)
    if compute.channels_last is None:
        channels_last = lay_channels_last(networks)
    else:
        channels_last = put_channels_last(networks, compute.channels_last)
    if compute.compiled:
        compile_networks(networks)
    return Device(name, compute.precision, batch, channels_last, compute.compiled)
