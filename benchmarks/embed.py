"""The embedding pipeline against bare forwards, against separate runs, and against a plain ``DataLoader`` loop.

``python benchmarks/embed.py heavy|light|one-pass|memory [--images N]``; each side runs in this process and its workers,
start-up (imports, loading networks) apart, and CPU-seconds (children included) stand beside wall time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.extract import extract
from fewshot.embeddings.inputs.images import decode
from fewshot.embeddings.pipeline.tuning import lay_channels_last
from fewshot.embeddings.weights.locate import resolve

ONE_PASS = ("spectrum", "tiny-ladeda", "ferretnet", "torchvision:mobilenet_v3_small")
HEAVY = "timm:vit_base_patch32_224"
BATCH = 32


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its ended children."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def timed(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}


def show(title: str, found: dict[str, float]) -> None:
    print(f"  {title:<46} {found['wall']:8.2f} s wall  {found['cpu']:8.2f} s CPU")


def make_images(folder: Path, *, count: int, side: int, suffix: str, seed: int = 0) -> list[Path]:
    """Write photographs-like noise of two classes; smooth structure plus grain, so that files have common sizes."""
    generator = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        place = folder / ("natural/camera" if number % 2 else "synthetic/gan")
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (side // 32, side // 32, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = pixels + generator.integers(-6, 7, (side, side, 3), dtype=np.int16)
        path = place / f"{number:06}.{suffix}"
        options: dict[str, Any] = {"quality": 90} if suffix == "jpg" else {}
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, **options)
        paths.append(path)
    return paths


def loaded(name: str) -> Backbone:
    backbone = create(name)
    return backbone.load(device="cpu", weights=resolve(backbone.card, ["all=random"]))


def run(root: Path, out: Path, names: Sequence[str], *, workers: int, limit: int | None = None) -> dict[str, float]:
    """Run our pipeline; return the seconds of all of it, start-up included."""
    out.unlink(missing_ok=True)
    wall, cpu = time.perf_counter(), cpu_seconds()
    weights, options = ["all=random"], {"batch_size": BATCH, "workers": workers, "limit": limit, "quiet": True}
    extract(root, backbones=list(names), out=out, weights=weights, **options)  # type: ignore[arg-type]
    return {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}


def batches(backbone: Backbone, paths: Sequence[Path]) -> list[torch.Tensor]:
    """Return preprocessed batches in the layout that the pipeline gives them, so that layout is no part of a ratio."""
    arrays = [backbone.preprocess(decode(path.read_bytes())[0]) for path in paths]
    ready = [torch.from_numpy(np.stack(arrays[start : start + BATCH])) for start in range(0, len(arrays), BATCH)]
    if not lay_channels_last([backbone]):
        return ready
    return [batch.contiguous(memory_format=torch.channels_last) for batch in ready]


def forward_seconds(backbone: Backbone, ready: Sequence[torch.Tensor]) -> dict[str, float]:
    return timed(lambda: [backbone.embed(batch) for batch in ready])


class Files(Dataset[torch.Tensor]):
    """What a user would write: open, convert, preprocess."""

    def __init__(self, paths: Sequence[Path], backbone: Backbone) -> None:
        self.paths, self.rule = paths, backbone.card.input

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        with Image.open(self.paths[place]) as image:
            return torch.from_numpy(self.rule(image.convert("RGB")))


def plain_loop(paths: Sequence[Path], backbones: Sequence[Backbone], *, workers: int) -> None:
    """One ``DataLoader`` loop per backbone, features kept in memory and saved by ``np.save`` at the end."""
    for backbone in backbones:
        loader = DataLoader(Files(paths, backbone), batch_size=BATCH, num_workers=workers)
        rows = [backbone.embed(batch)[backbone.layers[0]].numpy() for batch in loader]
        with tempfile.TemporaryFile() as file:
            np.save(file, np.concatenate(rows))


def efficiency(root: Path, paths: Sequence[Path], name: str, *, workers: int) -> dict[str, float]:
    """Compare the whole run with decoding alone plus the forward of the same batches alone."""
    backbone = loaded(name)
    ready = batches(backbone, paths)
    backbone.embed(ready[0])
    decoding = timed(lambda: [backbone.preprocess(decode(path.read_bytes())[0]) for path in paths])
    bare = forward_seconds(backbone, ready)
    started = run(root, root.parent / "two.h5", [name], workers=workers, limit=2)
    whole = run(root, root.parent / "store.h5", [name], workers=workers)
    work = whole["cpu"] - started["cpu"]
    show("decode and preprocess alone", decoding)
    show(f"forward alone, {name}", bare)
    show("whole run, start-up included", whole)
    show("start-up: a run over two images", started)
    return {
        "cpu_over_forward": work / bare["cpu"] - 1,
        "cpu_over_decode_and_forward": work / (bare["cpu"] + decoding["cpu"]) - 1,
        "cpu_over_forward_with_start": whole["cpu"] / bare["cpu"] - 1,
    }


def one_pass(root: Path, paths: Sequence[Path], *, workers: int) -> dict[str, float]:
    """Compare one pass with four runs of our own and with four plain loops; the ceiling is of parts measured apart."""
    backbones = [loaded(name) for name in ONE_PASS]
    plain_loop(paths[:BATCH], backbones, workers=0)
    decoding = timed(lambda: [decode(path.read_bytes()) for path in paths])
    images = [decode(path.read_bytes())[0] for path in paths]
    apart = []
    for backbone in backbones:
        preprocess = timed(lambda backbone=backbone: [backbone.preprocess(image) for image in images])
        forward = forward_seconds(backbone, batches(backbone, paths))
        apart.append(preprocess["cpu"] + forward["cpu"])
    together = run(root, root.parent / "together.h5", ONE_PASS, workers=workers)
    separate = [run(root, root.parent / "apart.h5", [name], workers=workers) for name in ONE_PASS]
    plain = [loaded(name) for name in ONE_PASS]  # as loaded: no layout of ours
    loop = timed(lambda: plain_loop(paths, plain, workers=workers))
    ours = {key: sum(each[key] for each in separate) for key in ("wall", "cpu")}
    show("decode alone, with hashes and file metadata", decoding)
    show("one pass", together)
    show("four separate runs of ours", ours)
    show("four plain DataLoader loops", loop)
    ceiling = (4 * decoding["cpu"] + sum(apart)) / (decoding["cpu"] + sum(apart))
    ratio = ours["cpu"] / together["cpu"]
    print(f"  separate / one pass: {ratio:.2f} in CPU-seconds; ceiling from the parts {ceiling:.2f}")
    return {
        "ratio_cpu": ratio,
        "ceiling_cpu": ceiling,
        "share_of_ceiling": ratio / ceiling,
        "loop_over_one_pass_cpu": loop["cpu"] / together["cpu"],
    }


def memory(sizes: Sequence[int]) -> dict[str, float]:
    """Return the peak resident size (MB) of whole runs over few and over many small images, each in its own process."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in sizes:
            root = Path(folder) / str(count)
            make_images(root, count=count, side=32, suffix="png")
            code = (
                "import resource, sys; from fewshot.embeddings.extract import extract;"
                "extract(sys.argv[1], backbones='spectrum', out=sys.argv[2], quiet=True);"
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
            )
            command = [sys.executable, "-c", code, str(root), str(root) + ".h5"]
            peaks[count] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"  {count} images: peak {peaks[count]:.0f} MB resident")
    first, last = sizes[0], sizes[-1]
    return {"first_mb": peaks[first], "last_mb": peaks[last], "growth_mb": peaks[last] - peaks[first]}


def cases() -> Iterator[str]:
    yield from ("heavy", "light", "one-pass", "memory")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("case", choices=list(cases()))
    arguments.add_argument("--images", type=int, help="fewer images than the published setting")
    arguments.add_argument("--workers", type=int, default=2)
    given = arguments.parse_args()
    print(f"{given.case}: torch threads {torch.get_num_threads()}, load {os.getloadavg()[0]:.1f}")
    if given.case == "memory":
        print(json.dumps(memory([1000, given.images or 50_000])))
        return
    settings = {"heavy": (500, 512, "jpg"), "light": (500, 512, "jpg"), "one-pass": (200, 1024, "png")}
    count, side, suffix = settings[given.case]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        paths = sorted(make_images(root, count=given.images or count, side=side, suffix=suffix))
        if given.case == "one-pass":
            result = one_pass(root, paths, workers=given.workers)
        else:
            result = efficiency(root, paths, HEAVY if given.case == "heavy" else "npr", workers=given.workers)
    print(json.dumps({"case": given.case, "images": len(paths), **result}))


if __name__ == "__main__":
    main()
