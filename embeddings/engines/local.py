"""Run units in this process: worker processes decode, this one runs the networks, threads copy back and write."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

from fewshot.core.errors import OptionError
from fewshot.embeddings.embedder import Embedder, ImagesDone
from fewshot.embeddings.engines.base import Engine, UnitDone
from fewshot.embeddings.engines.unit_files import written
from fewshot.embeddings.pipeline.plan import Plan
from fewshot.embeddings.pipeline.units import Unit


@final
class Local(Engine):
    """This process and one device."""

    name: ClassVar[str] = "local"

    def run(self, plan: Plan, units: Sequence[Unit]) -> Iterator[UnitDone | ImagesDone]:
        """Run the units in order; those of equal tasks go through the decoding processes as one stream."""
        if len(plan.compute.devices) > 1:
            raise OptionError(
                f"--engine local works on one device, and here are {', '.join(plan.compute.devices)}; name one, or "
                f"give --engine processes"
            )
        with Embedder(plan) as embedder:
            yield from written(embedder, units)
