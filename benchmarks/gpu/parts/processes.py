"""Two processes on one device by ``--engine processes``: the features of one process, and what it gains or costs."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.gpu.line import Line
from benchmarks.gpu.parts.throughput import image_files
from benchmarks.gpu.sizes import Sizes
from fewshot.embeddings.extract import extract

SPEC = "npr"


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield one line: seconds of one and of two processes, and the largest difference of their features."""
    seconds, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        image_files(root, count=sizes.shared_images, side=sizes.side)
        for engine, device in (("local", sizes.device), ("processes", f"{sizes.device},{sizes.device}")):
            started = time.perf_counter()
            done = extract(
                root,
                backbones=SPEC,
                out=Path(folder) / f"{engine}.h5",
                weights=["all=random"],
                engine=engine,
                device=device,
                precision="fp32",
                batch_size=64,
                quiet=True,
            )
            seconds.append(time.perf_counter() - started)
            store = done.outcome.store
            assert store is not None
            rows.append(store.read(None, SPEC, "feature")[np.argsort(store.column("key"))])
    difference = float(np.abs(rows[0] - rows[1]).max() / np.abs(rows[0]).max())
    yield Line(
        f"{SPEC}: {len(rows[0])} images, one process and two",
        {"one s": seconds[0], "two s": seconds[1], "largest difference": difference},
        wanted="every row, difference <= 1e-4",
        met=len(rows[0]) == len(rows[1]) and difference <= 1e-4,
    )
