"""What verdicts cost over features: ``predict`` of some images against ``embed`` of the same ones.

``python benchmarks/predict.py SHARED [--images 1000] [--rounds 2]``; both sides have the same network, decoder,
precision and number of decoding processes, and alternate in one process. CPU-seconds (children included) stand beside
wall time. The last line is JSON.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fewshot
from fewshot.detector.detector import Detector
from fewshot.detector.prediction import PredictSettings, predict
from fewshot.embeddings.extract import extract

BACKBONE = "torchvision:mobilenet_v2"
GOAL = 1.05


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its ended children."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - wall, cpu_seconds() - cpu


def make_inbox(data: Path, folder: Path, *, count: int) -> Path:
    """Copy real images until there are so many."""
    folder.mkdir()
    originals = sorted(path for path in data.rglob("*") if path.is_file())
    for number in range(count):
        original = originals[number % len(originals)]
        shutil.copyfile(original, folder / f"{number:05d}{original.suffix}")
    return folder


def fit(data: Path, folder: Path, weights: str) -> Detector:
    """Fit on ten images of each class, certified by the naturals of another collection."""
    for source in ("natural/imagenet", "synthetic/sd3"):
        shutil.copytree(data / source, folder / "support" / source)
    return fewshot.fit(
        folder / "support",
        backbones=BACKBONE,
        naturals=data / "natural" / "bsds500",
        shots=10,
        weights=[weights],
        out=folder / "x.detector",
        quiet=True,
    )


def main() -> None:
    """Measure both sides in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", default="auto")
    arguments = parser.parse_args()
    weights = f"{BACKBONE}={arguments.shared / 'weights' / 'mobilenet_v2-b0353104.pth'}"
    settings = PredictSettings(weights=(weights,), workers=arguments.workers)
    sides: dict[str, list[tuple[float, float]]] = {"embed": [], "predict": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        detector = fit(arguments.shared / "data" / "native", folder, weights)
        few = make_inbox(arguments.shared / "data" / "native", folder / "few", count=64)
        inbox = make_inbox(arguments.shared / "data" / "native", folder / "inbox", count=arguments.images)

        def embed(images: Path, store: str) -> None:
            extract(
                images,
                backbones=BACKBONE,
                out=folder / store,
                weights=[weights],
                one_class=True,
                unlabelled="natural",
                workers=arguments.workers,
                quiet=True,
            )

        def judge(images: Path, name: str) -> None:
            predict(detector, [images], settings, out=folder / f"{name}.csv", log=folder / "audit.jsonl", quiet=True)

        embed(few, "few.h5")
        judge(few, "few")
        for number in range(arguments.rounds):
            work = {"embed": partial(embed, inbox, f"{number}.h5"), "predict": partial(judge, inbox, str(number))}
            for side in sorted(work, reverse=number % 2 == 1):  # so that neither side always comes first
                sides[side].append(timed(work[side]))
    for side, seconds in sides.items():
        shown = ", ".join(f"{wall:.1f} s wall {cpu:.1f} s CPU" for wall, cpu in seconds)
        print(f"  {side:<8} {arguments.images} images: {shown}")
    ratios = {
        what: sum(each[at] for each in sides["predict"]) / sum(each[at] for each in sides["embed"])
        for at, what in enumerate(("wall", "cpu"))
    }
    print(f"  predict / embed: {ratios['wall']:.3f} wall, {ratios['cpu']:.3f} CPU (goal {GOAL})")
    print(json.dumps({"images": arguments.images, **sides, **ratios}))


if __name__ == "__main__":
    main()
