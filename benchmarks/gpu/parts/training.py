"""A training step of each trainer, once there are trainers."""

from collections.abc import Iterator

from benchmarks.gpu.line import Line
from benchmarks.gpu.sizes import Sizes


def lines(_: Sizes) -> Iterator[Line]:
    """Yield what is missing."""
    yield Line("a step of each trainer", skipped="this version has no trainers")
