"""Run units on this machine: worker processes decode, this process runs the networks, threads copy back and write."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from typing import final

from fewshot.core.errors import InputError, StoreError
from fewshot.embeddings.engines.base import Engine, Workload
from fewshot.embeddings.pipeline.decode_pool import prepared_in_order
from fewshot.embeddings.pipeline.forward import UnitForward, Waiting
from fewshot.embeddings.pipeline.plan import Task, Unit
from fewshot.embeddings.pipeline.prepare import Input, Job, Prepared, Recipe
from fewshot.embeddings.pipeline.transfer import Downloads
from fewshot.embeddings.pipeline.unit_result import UnitResult

_UNITS_BEING_WRITTEN = 2


@final
class Local(Engine):
    """The engine of one machine and one device."""

    name = "local"

    def run(self, units: Sequence[Unit], workload: Workload) -> None:
        """Run the units in order; those of equal tasks go through the workers as one stream."""
        with ThreadPoolExecutor(1, thread_name_prefix="fewshot-write") as writer, _downloads(workload) as downloads:
            for tasks, group in groupby(units, key=lambda unit: unit.tasks):
                _run_stream(tasks, list(group), workload, writer, downloads)


@contextmanager
def _downloads(workload: Workload) -> Iterator[Downloads]:
    """What fetches features from the device; the time they took is counted when it ends."""
    with Downloads(workload.device.name) as downloads:
        try:
            yield downloads
        finally:
            workload.timing.forward += downloads.seconds


def _run_stream(
    tasks: tuple[Task, ...], units: list[Unit], workload: Workload, writer: ThreadPoolExecutor, downloads: Downloads
) -> None:
    inputs = tuple(dict.fromkeys(task.input for task in tasks))
    collection = workload.collection
    recipe = Recipe(collection.roots, collection.layouts, inputs, workload.reencode, workload.decoder)
    stream = prepared_in_order(recipe, _jobs(units, workload), workers=workload.workers)
    written: list[Future[None]] = []
    for unit in units:
        result = _run_unit(unit, inputs, stream, workload, downloads)
        while len(written) >= _UNITS_BEING_WRITTEN:
            written.pop(0).result()
        written.append(writer.submit(_write, result, workload))
    for future in written:
        future.result()


def _jobs(units: Sequence[Unit], workload: Workload) -> Iterator[Job]:
    number = 0
    for unit in units:
        for position in unit.positions:
            key = workload.keys[position]
            place = workload.index[key]
            known = workload.known.get(key)
            yield Job(
                number=number,
                root=workload.collection.root[place],
                sample=workload.collection.samples[place],
                known_sha256=known.sha256 if known else "",
                known_id=known.pixel_id if known else "",
            )
            number += 1


def _run_unit(
    unit: Unit, inputs: tuple[Input, ...], stream: Iterator[Prepared], workload: Workload, downloads: Downloads
) -> UnitResult:
    result = UnitResult(unit, workload.keys, dtype=workload.dtype)
    networks = UnitForward(
        unit.tasks,
        inputs,
        workload.backbones,
        workload.device,
        downloads=downloads,
        take=lambda task, rows: result.take(task, rows.places, dict(rows.layers)),
    )
    for place in range(len(unit.positions)):
        prepared = next(stream)
        workload.timing.add(prepared.seconds)
        if prepared.refused:
            raise StoreError(
                f"{prepared.refused} (the decoder differs); use the decoder and the version of it that the store was "
                f"made with, or another -o"
            )
        if prepared.facts is None:
            result.unreadable(place, prepared.failure)
        else:
            sample = workload.index[result.keys[place]]
            result.readable(place, workload.collection.samples[sample], workload.collection.root[sample], prepared)
            _feed(networks, result, place, prepared)
        _require_strict(workload, result.failures)
        workload.failed += prepared.facts is None or any(isinstance(part, str) for part in prepared.inputs)
        workload.progress.advance(note=f"{workload.failed} failed" if workload.failed else "")
    networks.finish()
    _require_strict(workload, result.failures)  # rows that are not finite come last
    return result


def _feed(networks: UnitForward, result: UnitResult, place: int, prepared: Prepared) -> None:
    assert prepared.facts is not None
    for slot, array in enumerate(prepared.inputs):
        if isinstance(array, str):
            for task in networks.by_input[slot]:
                result.lacking(place, task, array)
            continue
        networks.add(slot, Waiting(place, prepared.facts.id, array))


def _require_strict(workload: Workload, failures: list[tuple[str, str, str, str]]) -> None:
    if failures and workload.strict:
        key, reason = failures[0][0], failures[0][3]
        raise InputError(f"{key}: {reason} (--strict); repair or remove the image, or run without --strict")


def _write(result: UnitResult, workload: Workload) -> None:
    started = time.perf_counter()
    path = workload.folder.folder / f"{result.unit.id(workload.keys)}.h5"
    file = result.write(path)
    workload.folder.record(result.unit, path, rows=file.rows, failures=file.failures)
    workload.timing.write += time.perf_counter() - started
