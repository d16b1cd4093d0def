"""Fuzz one door in a process of its own: ``python -m tests.hostile.fuzz DOOR [--seconds 30] [--seed 0]``.

Hypothesis draws damage to sound files; each is read as a user's command reads it. Anything but success or an error of
ours is a failure, so is more than ``EXAMPLE_SECONDS`` for one example or more memory than ``MEMORY_BYTES`` beyond what
the start took. The damaged file is written to the disk before it is read, so that a crash leaves it to look at. Prints
one line of JSON: examples, refused, accepted, seconds, the slowest example, and the memory added.
"""

import argparse
import faulthandler
import importlib
import json
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fewshot.core.errors import FewshotError
from tests.hostile.mutations import damaged

EXAMPLE_SECONDS = 20
MEMORY_BYTES = 4 << 30
ROUND = 100  # examples between two looks at the clock


def fuzz(door: str, *, seconds: float, first_seed: int, folder: Path) -> dict[str, float]:
    """Read damaged files for ``seconds`` and return the counts.

    Raises:
        Exception: whatever the door let through.
    """
    module = importlib.import_module(f"tests.hostile.doors.{door}")
    files = module.originals(folder / "originals")
    for sound in files:
        module.enter(sound)  # an original that is refused would make the run worthless
    started, seen = time.monotonic(), Counter[str]()
    memory = _resident()
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES, resource.RLIM_INFINITY))
    slowest = 0.0

    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def one_round(data: st.DataObject) -> None:
        nonlocal slowest
        original = data.draw(st.sampled_from(files))
        content = damaged(original.read_bytes(), random.Random(data.draw(st.integers(0, 2**32 - 1))))
        with tempfile.TemporaryDirectory(dir=folder) as own:
            case = Path(own) / original.name
            case.write_bytes(content)
            begun = time.monotonic()
            faulthandler.dump_traceback_later(EXAMPLE_SECONDS, exit=True)
            try:
                module.enter(case)
                seen["accepted"] += 1
            except FewshotError:
                seen["refused"] += 1
            except BaseException:
                (folder / f"failed-{original.name}").write_bytes(content)
                raise
            finally:
                faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.monotonic() - begun)

    number = first_seed
    while time.monotonic() < started + seconds:
        seed(number)(one_round)()
        number += 1
    return {
        "examples": seen.total(),
        **seen,
        "seconds": round(time.monotonic() - started, 1),
        "slowest_seconds": round(slowest, 2),
        "added_mib": round((_resident() - memory) / (1 << 20)),
    }


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    """Read the arguments, fuzz, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("door")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where a failing file is kept; default: a new one")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "originals").mkdir(exist_ok=True)
    counts = fuzz(arguments.door, seconds=arguments.seconds, first_seed=arguments.seed, folder=folder)
    sys.stdout.write(json.dumps({"door": arguments.door, **counts}) + "\n")


if __name__ == "__main__":
    main()
