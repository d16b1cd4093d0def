"""Units on loaded networks, each into its file: what every engine does where the networks are."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

from fewshot.embeddings.embedder import Embedder, ImagesDone
from fewshot.embeddings.engines.base import UnitDone
from fewshot.embeddings.pipeline.timing import Timing
from fewshot.embeddings.pipeline.unit_result import UnitResult
from fewshot.embeddings.pipeline.units import Unit

_BEING_WRITTEN = 2


def written(embedder: Embedder, units: Sequence[Unit]) -> Iterator[UnitDone | ImagesDone]:
    """Yield each unit once its file is whole, and in between how many images went through.

    A thread writes while the networks go on with the next unit.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fewshot-write") as writer:
        under_way: deque[Future[UnitDone]] = deque()
        for event in embedder.results(units):
            if isinstance(event, ImagesDone):
                yield event
                continue
            while len(under_way) >= _BEING_WRITTEN:
                yield under_way.popleft().result()
            under_way.append(writer.submit(_write, event, embedder, embedder.take_timing()))
        while under_way:
            yield under_way.popleft().result()


def _write(result: UnitResult, embedder: Embedder, timing: Timing) -> UnitDone:
    started = perf_counter()
    batch_size, plan = embedder.device.batch, embedder.plan
    file = result.write(plan.folder / f"{result.unit.id(plan.keys)}.h5", embedder.execution)
    timing.write = perf_counter() - started
    return UnitDone(result.unit, file, batch_size, timing)
