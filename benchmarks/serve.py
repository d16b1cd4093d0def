"""Load on loopback: none lost, none wrong, memory flat, and how far the service stays behind ``predict``.

``python benchmarks/serve.py NAME.detector FOLDER...`` judges the same images by ``Scorer`` in this process and then,
one a request, by ``fewshot serve`` in another, with many clients at once. Both decode in one process of their own.
"""

import argparse
import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

TOLERANCE = 1e-5
TAKE_AGAIN = (429, 503)


@dataclass
class Load:
    """What came of a load.

    Args:
        found: number of the request -> verdict and score.
        refused: answers 429 and 503, each of which was sent again.
        lost: what went wrong otherwise.
    """

    found: dict[int, tuple[str, float]] = field(default_factory=dict)
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0
    worked: float = 0.0
    resident: list[tuple[int, float]] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--weights", action="append", default=[])
    parser.add_argument("--limit", action="append", default=[], help="limits of the service, as for fewshot serve")
    given = parser.parse_args()
    files = sorted(file for folder in given.folders for file in folder.rglob("*") if file.suffix in (".jpg", ".png"))
    paths = list(islice(cycle(files), given.requests))
    print(f"{len(paths)} requests of {len(files)} images, {given.clients} clients, {os.cpu_count()} cores")
    expected, seconds, worked = predicted(given.detector, paths, given.weights)
    print(f"predict   {len(paths) / seconds:8.1f} images/s: {seconds:.1f} s, {worked:.1f} s of CPU")
    load = served(given, paths)
    print(f"serve     {len(paths) / load.seconds:8.1f} images/s: {load.seconds:.1f} s, {load.worked:.1f} s of CPU")
    print(f"ratio     {seconds / load.seconds:8.3f} in seconds, {worked / load.worked:.3f} in seconds of CPU")
    wrong = [
        number
        for number, (verdict, score) in load.found.items()
        if verdict != expected[number][0] or abs(score - expected[number][1]) > TOLERANCE
    ]
    furthest = max(abs(score - expected[number][1]) for number, (_, score) in load.found.items())
    print(f"lost {len(paths) - len(load.found)} {load.lost[:3]}, wrong {len(wrong)}, furthest score {furthest:.2g}")
    print(f"refused and sent again: {load.refused}")
    print("resident MB after so many:", ", ".join(f"{done}: {size:.0f}" for done, size in load.resident))


def predicted(
    detector: Path, paths: Sequence[Path], weights: Sequence[str]
) -> tuple[list[tuple[str, float]], float, float]:
    """Return verdict and score of each image; then the seconds of all of them, on the clock and of CPU, when warm."""
    from fewshot.detector.detector import Detector
    from fewshot.detector.scorer import Scorer

    with Scorer(Detector.load(detector), weights=weights, workers=1) as scorer:
        scorer.files(paths[:2])
        started, before = time.perf_counter(), _cpu_seconds(os.getpid())
        found = scorer.files(paths)
        seconds, worked = time.perf_counter() - started, _cpu_seconds(os.getpid()) - before
    judgements = [each.judgement for each in found]
    return [(each.verdict, each.score) for each in judgements if each is not None], seconds, worked


def served(given: argparse.Namespace, paths: Sequence[Path]) -> Load:
    """Return what a service answers."""
    options = [part for each in given.weights for part in ("--weights", each)]
    options += [part for each in given.limit for part in ("--limit", each)]
    command = [sys.executable, "-m", "fewshot", "serve", str(given.detector), "--port", "0", "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = urlsplit(json.loads(process.stdout.readline())["url"])
        load = Load()
        contents = {path: path.read_bytes() for path in set(paths)}
        numbers = iter(range(len(paths)))
        lock = threading.Lock()

        def client() -> None:
            connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=300)
            while True:
                with lock:
                    number = next(numbers, None)
                    if number is not None and number % max(1, len(paths) // 8) == 0:
                        load.resident.append((number, _resident_megabytes(process.pid)))
                if number is None:
                    return
                _ask(connection, number, contents[paths[number]], load)

        threads = [threading.Thread(target=client) for _ in range(given.clients)]
        started, before = time.perf_counter(), _cpu_seconds(process.pid)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        load.seconds, load.worked = time.perf_counter() - started, _cpu_seconds(process.pid) - before
        load.resident.append((len(paths), _resident_megabytes(process.pid)))
        return load
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _ask(connection: http.client.HTTPConnection, number: int, content: bytes, load: Load) -> None:
    try:
        while True:
            connection.request("POST", "/v1/predict", content, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status not in TAKE_AGAIN:
                break
            load.refused += 1
            time.sleep(0.2)
        (result,) = json.loads(body)["results"]
        load.found[number] = (result["verdict"], result["score"])
    except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
        load.lost.append(f"{type(error).__name__}: {error}")
        connection.close()


def _cpu_seconds(process: int) -> float:
    """Return the seconds of CPU of a process and of the processes that it started, as far as they still run."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = {
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    }
    return own + sum(map(_cpu_seconds, children))


def _resident_megabytes(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
