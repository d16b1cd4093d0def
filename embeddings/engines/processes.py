"""Run units in one process per device; whichever is free takes the next ones, so that a slow device holds none up."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any, ClassVar, final

from fewshot.core.child import Child, connected
from fewshot.core.errors import FewshotError
from fewshot.embeddings.embedder import Embedder, ImagesDone
from fewshot.embeddings.engines.base import Engine, UnitDone
from fewshot.embeddings.engines.unit_files import written
from fewshot.embeddings.pipeline.plan import Plan
from fewshot.embeddings.pipeline.units import Unit
from fewshot.embeddings.store.failures import Failure

_REPORT_SECONDS = 0.2  # at most so often a process reports how many images went through
_ENDS = 2  # of processes at one unit, before the run gives up
_MOST_UNITS = 64  # that a process is given at a time


@dataclass(frozen=True)
class _Failed:
    """What a process met that ends the run."""

    error: FewshotError


@dataclass(frozen=True)
class _Idle:
    """A process has done all that it was given."""


@final
class Processes(Engine):
    """One process per device of the plan; results do not depend on which of them runs a unit."""

    name: ClassVar[str] = "processes"

    def run(self, plan: Plan, units: Sequence[Unit]) -> Iterator[UnitDone | ImagesDone]:
        """Hand units out in order as processes become free; those of one that dies are handed out again."""
        with _Crew(plan, units) as crew:
            yield from crew.events()


class _Crew:
    """The processes of one run, what each of them holds, and what is left."""

    def __init__(self, plan: Plan, units: Sequence[Unit]) -> None:
        self.plan = plan
        self.left = deque(units)
        self.ends: dict[Unit, int] = {}
        self.members: list[_Member] = []

    def __enter__(self) -> "_Crew":
        self.members = [_Member(self.plan, device) for device in self.plan.compute.devices[: len(self.left)]]
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.child.kill()
            member.child.close()

    def events(self) -> Iterator[UnitDone | ImagesDone]:
        """Yield what the processes report until no unit is left."""
        for member in self.members:
            self._hand_out(member)
        while any(member.units for member in self.members):
            by_connection: dict[Any, _Member] = {member.child.connection: member for member in self.members}
            for connection in wait(list(by_connection)):
                yield from self._received(by_connection[connection])

    def _hand_out(self, member: "_Member") -> None:
        """Give a free process a share of what is left: large ones first, so that all end at about the same time."""
        share = min(_MOST_UNITS, -(-len(self.left) // (2 * len(self.members))))
        if share:
            member.give([self.left.popleft() for _ in range(share)])

    def _received(self, member: "_Member") -> Iterator[UnitDone | ImagesDone]:
        try:
            message = member.child.connection.recv()
        except (EOFError, ConnectionError):
            self._replace(member)
            return
        if isinstance(message, _Failed):
            raise message.error
        if isinstance(message, _Idle):
            self._hand_out(member)
            return
        if isinstance(message, UnitDone):
            member.units.remove(message.unit)
        yield message

    def _replace(self, member: "_Member") -> None:
        """Start a process in a dead one's place and hand its units out again, but not a third time."""
        member.child.close()
        if not member.units:  # it had done its share
            self.members.remove(member)
            return
        first = member.units[0]
        self.ends[first] = self.ends.get(first, 0) + 1
        if self.ends[first] >= _ENDS:
            raise FewshotError(
                f"the process on {member.device} ended twice at the same images ({member.child.ending}); the first of "
                f"them is {self.plan.keys[first.positions[0]]!r}, and its message is above. What was done is kept: run "
                f"the same command again with --engine local, or with a smaller --batch-size"
            )
        self.left.extendleft(reversed(member.units))
        fresh = _Member(self.plan, member.device)
        self.members[self.members.index(member)] = fresh
        self._hand_out(fresh)


class _Member:
    """This process's end of one working process."""

    def __init__(self, plan: Plan, device: str) -> None:
        self.device = device
        self.units: list[Unit] = []
        self.child = Child("fewshot.embeddings.engines.processes", "work")
        self.child.send(replace(plan, compute=replace(plan.compute, devices=(device,))))

    def give(self, units: list[Unit]) -> None:
        """Hand it more units."""
        self.units += units
        self.child.send(units)


def work(descriptor: int) -> None:
    """Run units until the other side closes; the body of a working process."""
    _, connection = connected(descriptor)
    reports = _Reports(connection)
    try:
        plan: Plan = connection.recv()
        with Embedder(plan) as embedder:
            while True:
                for event in written(embedder, connection.recv()):
                    reports.add(event)
                reports.flush()
                connection.send(_Idle())
    except (EOFError, ConnectionError):
        return
    except FewshotError as error:  # handed to the caller's process, which raises it; others end this one, with a trace
        reports.flush()
        connection.send(_Failed(error))


class _Reports:
    """Sends finished units at once, and single images gathered."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.images = 0
        self.failures: list[Failure] = []
        self.last = time.monotonic()

    def add(self, event: UnitDone | ImagesDone) -> None:
        """Send an event, or keep it for the next."""
        if isinstance(event, UnitDone):
            self.flush()
            self.connection.send(event)
            return
        self.images += event.images
        self.failures += event.failures
        if time.monotonic() - self.last >= _REPORT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what was gathered."""
        if self.images or self.failures:
            self.connection.send(ImagesDone(self.images, tuple(self.failures)))
        self.images, self.failures, self.last = 0, [], time.monotonic()
