"""Images per second of whole runs in bf16 against the bare forward, a plain ``DataLoader`` loop, and decoding alone.

``device side`` feeds prepared arrays through the pipeline's own batches, uploads and downloads: what a run reaches when
decoding suffices. ``from disk`` is a whole ``extract`` less its start-up. A goal is met when one of the two limits is:
nine tenths of the bare forward, or of what the processor can decode.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.embed import Files, make_images
from benchmarks.gpu.line import Line
from benchmarks.gpu.parts.card import median_seconds, synchronize
from benchmarks.gpu.sizes import Sizes
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.extract import extract
from fewshot.embeddings.inputs.images import decode
from fewshot.embeddings.inputs.views import parse
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.pipeline.choice import choose_backbones, task_of
from fewshot.embeddings.pipeline.forward import Device, Rows, UnitForward, Waiting
from fewshot.embeddings.pipeline.memory import fitting_batch
from fewshot.embeddings.pipeline.settings import PixelSettings
from fewshot.embeddings.pipeline.transfer import Downloads
from fewshot.embeddings.pipeline.tuning import lay_channels_last
from fewshot.embeddings.pipeline.units import Task

SHARE = 0.9
PARTS = 16  # folders of images written side by side


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield the decode limit, then each network."""
    count = max(images for _, images in sizes.networks)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        written = image_files(root, count=count, side=sizes.side)
        yield Line("images written", {"images": len(written), "side": sizes.side, "folder": "disk"})
        for spec, images in sizes.networks:
            yield from network_lines(spec, root, written[:images], sizes)


def image_files(root: Path, *, count: int, side: int) -> list[Path]:
    """Write JPEG images of two classes, on all cores."""
    parts = min(PARTS, count // 4)
    each = -(-count // parts)
    names = [root / f"{number:02}" for number in range(parts)]
    with ProcessPoolExecutor(min(parts, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        list(pool.map(_write, names, [each] * parts, [side] * parts, range(parts)))
    for name in names:  # one tree of class folders
        for path in sorted(name.rglob("*.jpg")):
            target = root / path.relative_to(name).parent / f"{name.name}-{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    for name in names:
        for folder in sorted(name.rglob("*"), reverse=True):
            folder.rmdir()
        name.rmdir()
    return sorted(root.rglob("*.jpg"))


def _write(folder: Path, count: int, side: int, seed: int) -> None:
    make_images(folder, count=count, side=side, suffix="jpg", seed=seed)


def network_lines(spec: str, root: Path, paths: Sequence[Path], sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of one network."""
    place = torch.device(sizes.device)
    (chosen,) = choose_backbones(spec, weights=["all=random"], layers={})
    task = task_of(chosen, parse(CLEAN), pixels=PixelSettings(), precision="bf16", dtype="float32")
    backbone = chosen.planned.load(sizes.device)
    device = Device(place, "bf16", min(fitting_batch(place, [backbone]), len(paths)), lay_channels_last([backbone]))
    arrays = prepared_arrays(backbone, paths, most=device.batch)
    bare = bare_rate(backbone, arrays, device)
    fed = device_side_rate(task, backbone, arrays, device, images=len(paths))
    yield Line(
        f"{spec}: device side against bare forward",
        {"bare images/s": bare, "pipeline images/s": fed, "share": fed / bare, "batch": device.batch},
        wanted=f"share >= {SHARE}",
        met=None if sizes.dry else fed >= SHARE * bare,
    )
    decoding = decode_rate(backbone, paths)
    decoders = ["pillow"] if sizes.dry else ["pillow", "torchvision", "nvjpeg"]
    for decoder in decoders:
        yield whole_run(spec, root, paths, sizes, decoder=decoder, bare=bare, decoding=decoding)
    started = time.perf_counter()
    plain_loop(backbone, paths, device)
    yield Line(f"{spec}: plain DataLoader loop", {"images/s": len(paths) / (time.perf_counter() - started)})


def prepared_arrays(backbone: Backbone, paths: Sequence[Path], *, most: int) -> list[np.ndarray]:
    """Return the inputs of a batch of images, few of them decoded, the rest repeated."""
    few = [backbone.preprocess(decode(path.read_bytes())[0]) for path in paths[:8]]
    return [few[number % len(few)] for number in range(most)]


def bare_rate(backbone: Backbone, arrays: Sequence[np.ndarray], device: Device) -> float:
    """Return images per second of the network alone, its batch on the device already."""
    batch = torch.from_numpy(np.stack(arrays)).to(device.name)
    if device.channels_last and batch.dim() == 4:
        batch = batch.contiguous(memory_format=torch.channels_last)

    def forward() -> None:
        with device.autocast():
            backbone.embed(batch)

    return len(arrays) / median_seconds(forward, device.name, rounds=5)


def device_side_rate(
    task: Task, backbone: Backbone, arrays: Sequence[np.ndarray], device: Device, *, images: int
) -> float:
    """Return images per second from arrays in memory to features in memory, by the pipeline's own code."""
    rows = 0

    def take(_: Task, found: Rows) -> None:
        nonlocal rows
        rows += len(found.numbers)

    with Downloads(device.name) as downloads:
        networks = UnitForward([task], [task.input], {task.backbone: backbone}, device, downloads=downloads, take=take)
        started = time.perf_counter()
        for number in range(images):
            networks.add(0, Waiting(number, "", arrays[number % len(arrays)]))
        networks.finish()
        synchronize(device.name)
        seconds = time.perf_counter() - started
    assert rows == images
    return images / seconds


def decode_rate(backbone: Backbone, paths: Sequence[Path]) -> float:
    """Return images per second that one core decodes and preprocesses, times the cores."""
    some = paths[: min(32, len(paths))]
    started = time.perf_counter()
    for path in some:
        backbone.preprocess(decode(path.read_bytes())[0])
    return len(some) / (time.perf_counter() - started) * (os.cpu_count() or 1)


def whole_run(
    spec: str, root: Path, paths: Sequence[Path], sizes: Sizes, *, decoder: str, bare: float, decoding: float
) -> Line:
    """Return the line of one ``extract`` from disk, start-up taken off by a run over two images."""
    what = f"{spec}: from disk, {decoder}"
    try:
        start = _extract_seconds(spec, root, sizes, decoder=decoder, limit=2)
        whole = _extract_seconds(spec, root, sizes, decoder=decoder, limit=len(paths))
    except (ImportError, RuntimeError) as error:
        return Line(what, skipped=f"{type(error).__name__}: {str(error)[:100]}")
    rate = (len(paths) - 2) / max(whole - start, 1e-9)
    limit = min(bare, decoding)
    figures = {"images/s": rate, "decode limit": decoding, "bare": bare, "share of the lower": rate / limit}
    judged = decoder == "pillow" and not sizes.dry
    return Line(what, figures, wanted=f"share >= {SHARE}", met=rate >= SHARE * limit if judged else None)


def _extract_seconds(spec: str, root: Path, sizes: Sizes, *, decoder: str, limit: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        extract(
            root,
            backbones=spec,
            out=Path(folder) / "store.h5",
            weights=["all=random"],
            device=sizes.device,
            precision="bf16",
            decoder=decoder,
            limit=limit,
            quiet=True,
        )
        return time.perf_counter() - started


def plain_loop(backbone: Backbone, paths: Sequence[Path], device: Device) -> None:
    """What a user would write: a ``DataLoader`` with a worker per core, features kept in memory."""
    workers = min(16, os.cpu_count() or 1)
    loader = DataLoader(
        Files(paths, backbone), batch_size=min(256, device.batch), num_workers=workers, multiprocessing_context="fork"
    )
    rows = []
    for batch in loader:
        with device.autocast():
            rows.append(backbone.embed(batch.to(device.name))[backbone.layers[0]].float().cpu().numpy())
    np.concatenate(rows)
