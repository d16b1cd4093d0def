"""What a command costs before and besides its work: CPU-seconds of short runs, against those of ``import torch``.

Run: ``python benchmarks/startup.py [--rounds 5] [--store STORE.h5 --image IMAGE]``. Every command runs once a round as
``python -m fewshot ...`` by this interpreter, one after another, so that whatever slows the machine slows them all; the
median over the rounds counts. User and system time of the command and of all its processes are added up. Python's
compiled files go to a folder of this run and are made in a first round that does not count, so that nothing depends on
what ran in a checkout before. Without ``--store`` the demo's data are made first, small. Prints a table and, last, one
JSON line; a bar that is missed, or a command that fails, is said there and is no exit status.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

YARDSTICK = "import torch"
TELLING, WORKING = 0.25, 1.6  # the bars, in yardsticks: what only tells, and what computes on a store
DEMO = ("demo", "--tiles", "2", "--trials", "2", "--quiet")
DEMO_STORE, DEMO_IMAGE = "images.h5", "images/spectral/astronaut-00.png"


@dataclass(frozen=True)
class Start:
    """One thing that is started.

    Args:
        name: what the table calls it.
        arguments: what follows the interpreter.
        bar: how many times the yardstick it may cost; None for the yardstick.
    """

    name: str
    arguments: tuple[str, ...]
    bar: float | None = None


@dataclass(frozen=True)
class Surroundings:
    """Where the commands run.

    Args:
        checkout: whose ``fewshot`` it is.
        compiled: the folder for Python's compiled files.
    """

    checkout: Path
    compiled: Path

    def environment(self) -> dict[str, str]:
        """Return this process's environment, made to import the checkout and to keep compiled files apart."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        path = os.pathsep.join(filter(None, [str(self.checkout), kept.get("PYTHONPATH")]))
        return {**kept, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(self.compiled)}

    def run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run this interpreter with these arguments and wait for it."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.checkout,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )


def starts(store: Path, image: Path) -> list[Start]:
    """Return what is measured, the yardstick first."""
    telling = ["--help", "adapt --help", "embed --help"]
    telling += [f"list {family}" for family in ("heads", "backbones", "layouts", "views")]
    telling += ["inspect STORE"]
    working = ["adapt STORE --shots 10 --head svm --trials 20", "nearest STORE IMAGE -b spectrum", "audit STORE"]
    places = {"STORE": str(store), "IMAGE": str(image)}
    return [
        Start(YARDSTICK, ("-c", YARDSTICK)),
        *(_command(line, places, TELLING) for line in telling),
        *(_command(line, places, WORKING) for line in working),
    ]


def _command(line: str, places: Mapping[str, str], bar: float) -> Start:
    words = [places.get(word, word) for word in line.split()]
    return Start(f"fewshot {line}", ("-m", "fewshot", *words), bar)


def cpu_seconds(start: Start, surroundings: Surroundings) -> float:
    """Run once and return the processor time of the command and of what it waited for.

    Raises:
        ChildProcessError: it failed; its last words are the message.
    """
    before = _spent_by_children()
    ended = surroundings.run(start.arguments)
    spent = _spent_by_children() - before
    if ended.returncode:
        raise ChildProcessError(f"exit status {ended.returncode}: {_last_line(ended.stderr)}")
    return spent


def _spent_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def measure(
    measured: Sequence[Start], surroundings: Surroundings, rounds: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the CPU-seconds of every round by name, and what was said by those that failed, which are left out."""
    seconds: dict[str, list[float]] = {start.name: [] for start in measured}
    failures: dict[str, str] = {}
    for number in range(rounds + 1):
        for start in measured:
            if start.name in failures:
                continue
            try:
                spent = cpu_seconds(start, surroundings)
            except ChildProcessError as error:
                failures[start.name] = str(error)
                del seconds[start.name]
                continue
            if number:
                seconds[start.name].append(spent)
        print(f"round {number} of {rounds}{'' if number else ', not counted'}", file=sys.stderr, flush=True)
    return seconds, failures


def results(
    measured: Sequence[Start], seconds: Mapping[str, Sequence[float]], failures: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return one line of the table for each command: medians, ratios to the yardstick, and whether the bar is met."""
    medians = {name: statistics.median(spent) for name, spent in seconds.items()}
    yardstick = medians.get(YARDSTICK)
    lines = []
    for start in measured:
        median = medians.get(start.name)
        ratio = median / yardstick if median is not None and yardstick else None
        lines.append(
            {
                "command": start.name,
                "cpu_seconds": median,
                "rounds": [round(spent, 3) for spent in seconds.get(start.name, ())],
                "ratio": ratio,
                "bar": start.bar,
                "met": ratio is not None and ratio <= start.bar if start.bar is not None else None,
                "failure": failures.get(start.name),
            }
        )
    return lines


def show(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    width = max(len(line["command"]) for line in lines)
    print(f"{'command':<{width}}  CPU-seconds  least  most  ratio   bar  met")
    for line in lines:
        print(f"{line['command']:<{width}}  {_figures(line)}")


def _figures(line: Mapping[str, Any]) -> str:
    """Return a line's numbers, or how the command failed."""
    if line["failure"]:
        return f"failed, {line['failure']}"
    spent = f"{line['cpu_seconds']:11.2f}  {min(line['rounds']):5.2f} {max(line['rounds']):5.2f}"
    if line["ratio"] is None:
        return spent
    bar = "" if line["bar"] is None else f" {line['bar']:5.2f}  {'yes' if line['met'] else 'no'}"
    return f"{spent}  {line['ratio']:5.2f}{bar}"


def make_demo(folder: Path, surroundings: Surroundings) -> tuple[Path, Path]:
    """Make the demo's data, small, and return its store and one of its images."""
    print("making the demo's data, which takes a minute", file=sys.stderr, flush=True)
    ended = surroundings.run(["-m", "fewshot", *DEMO, "--output", str(folder)])
    if ended.returncode:
        print(f"the demo failed, so will what reads its store: {_last_line(ended.stderr)}", file=sys.stderr)
    return folder / DEMO_STORE, folder / DEMO_IMAGE


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("--rounds", type=int, default=5, help="counted runs of every command (default: 5)")
    parser.add_argument("--store", type=Path, help="a store with features of spectrum; the demo's by default")
    parser.add_argument("--image", type=Path, help="the image that nearest looks up; goes with --store")
    parser.add_argument("--checkout", type=Path, default=here, help="whose commands to run; this one's by default")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds is 1 or more, not {options.rounds}")
    if (options.store is None) != (options.image is None):
        parser.error("--store and --image go together: give both, or neither to make the demo's data")
    return options


def main() -> None:
    """Measure and print."""
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        surroundings = Surroundings(options.checkout.resolve(), Path(folder) / "compiled")
        if options.store is None:
            store, image = make_demo(Path(folder) / "demo", surroundings)
        else:
            store, image = options.store.resolve(), options.image.resolve()
        measured = starts(store, image)
        seconds, failures = measure(measured, surroundings, options.rounds)
        found = surroundings.run(["-c", "import fewshot; print(fewshot.__file__)"]).stdout.strip()
    load = os.getloadavg()[0]
    print(f"{found}; {options.rounds} rounds; {os.cpu_count()} cores, load {load:.1f}")
    lines = results(measured, seconds, failures)
    show(lines)
    result = {"benchmark": "startup", "fewshot": found, "counted_rounds": options.rounds, "load": load, "starts": lines}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
