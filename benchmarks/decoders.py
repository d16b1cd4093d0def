"""The faster decoder against Pillow on real files: decoded and resized pixels, features and CPU time, by container.

``python benchmarks/decoders.py FOLDER [-b NAME ...] [--weights NAME=PATH ...] [--images N]``; files are also re-encoded
to WebP where the folder has none. Prints a table and, last, one JSON line.
"""

import argparse
import io
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.inputs.decoders import decoder_of, resize_of, version_of
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop, ShorterSide
from fewshot.embeddings.weights.locate import resolve

FAST = "torchvision"
CLIP_GEOMETRY = InputRule((ShorterSide(224, "bicubic"), CenterCrop(224, 224)))  # the commonest of all


def loaded(name: str, weights: Sequence[str]) -> Backbone:
    backbone = create(name)
    return backbone.load(device="cpu", weights=resolve(backbone.card, list(weights)))


def feature(backbone: Backbone, image: Image.Image, decoder: str) -> np.ndarray:
    batch = torch.from_numpy(backbone.card.input(image, resize=resize_of(decoder)))[None]
    return backbone.embed(batch)[backbone.card.layer][0].numpy().astype(np.float64)


def files_by_container(folder: Path, most: int) -> dict[str, list[bytes]]:
    """Return some files' bytes by container, spread evenly over the folder."""
    found: dict[str, list[Path]] = {"JPEG": [], "PNG": [], "WEBP": []}
    kinds = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in kinds:
            found[kinds[path.suffix.lower()]].append(path)
    some = {kind: [path.read_bytes() for path in paths[:: max(1, len(paths) // most)]] for kind, paths in found.items()}
    if not some["WEBP"]:
        some["WEBP"] = [as_webp(data) for data in some["PNG"]]
    return some


def as_webp(data: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(stream, "WEBP", quality=80)
    return stream.getvalue()


def cpu_milliseconds(decoder: str, files: Sequence[bytes]) -> float:
    decode, resize = decoder_of(decoder), resize_of(decoder)
    best = []
    for _ in range(3):
        started = time.process_time()
        for data in files:
            CLIP_GEOMETRY(decode(data)[0], resize=resize)
        best.append(time.process_time() - started)
    return min(best) / len(files) * 1000


def compare(files: Sequence[bytes], backbones: Sequence[Backbone]) -> dict[str, float]:
    pixels, resized, distances = [], [], []
    for data in files:
        pair = [decoder_of(name)(data)[0] for name in ("pillow", FAST)]
        one, other = (np.asarray(image, dtype=int) for image in pair)
        pixels.append((np.abs(one - other).max(), np.abs(one - other).mean()))
        small = [CLIP_GEOMETRY(pair[0]).astype(int), CLIP_GEOMETRY(pair[1], resize=resize_of(FAST)).astype(int)]
        resized.append((np.abs(small[0] - small[1]).max(), np.abs(small[0] - small[1]).mean()))
        for backbone in backbones:
            first, second = (feature(backbone, image, name) for image, name in zip(pair, ("pillow", FAST), strict=True))
            distances.append(np.linalg.norm(first - second) / np.linalg.norm(first))
    return {
        "files": len(files),
        "pixel_max": float(max(most for most, _ in pixels)),
        "resized_max": float(max(most for most, _ in resized)),
        "resized_mean": float(np.mean([mean for _, mean in resized])),
        "feature_max_relative": float(max(distances, default=0.0)),
        "pillow_ms": cpu_milliseconds("pillow", files),
        "fast_ms": cpu_milliseconds(FAST, files),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("-b", "--backbone", action="append", default=[])
    arguments.add_argument("--weights", action="append", default=["all=random"])
    arguments.add_argument("--images", type=int, default=100, help="files of each container")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    backbones = [loaded(name, given.weights) for name in given.backbone]
    print(f"{version_of('pillow')} against {version_of(FAST)}; load {os.getloadavg()[0]:.1f}")
    result = {}
    for container, files in files_by_container(given.folder, given.images).items():
        result[container] = found = compare(files, backbones)
        print(
            f"  {container:<5} {found['files']:4} files  decoded pixels differ by at most {found['pixel_max']:.0f}, "
            f"resized ones by {found['resized_max']:.0f} (mean {found['resized_mean']:.4f}); features by at most "
            f"{found['feature_max_relative']:.2g}; "
            f"{found['pillow_ms']:.2f} -> {found['fast_ms']:.2f} ms CPU"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
