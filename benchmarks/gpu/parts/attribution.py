"""One pass of ACM training on the device: ours from the store against the plain loop that a user would write."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.attribution import Pass
from benchmarks.gpu.line import Line
from benchmarks.gpu.parts.card import synchronize
from benchmarks.gpu.sizes import Sizes

GOAL = 5


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield the seconds of both, their ratio, and how far their losses differ."""
    device = torch.device(sizes.device)
    with tempfile.TemporaryDirectory() as folder:
        given = Pass.over(Path(folder) / "features.h5", sizes.pass_rows)
        seconds, losses = [], []
        for work in (given.plain, given.ours):
            synchronize(device)
            started = time.perf_counter()
            losses.append(work(device, _nothing))
            synchronize(device)
            seconds.append(time.perf_counter() - started)
    ratio = seconds[0] / seconds[1]
    yield Line(
        f"one pass over {sizes.pass_rows} x 768, {given.steps} steps",
        {
            "plain loop s": seconds[0],
            "ours s": seconds[1],
            "ratio": ratio,
            "largest loss difference": float(np.abs(losses[0] - losses[1]).max()),
        },
        wanted=f"ratio >= {GOAL}",
        met=None if sizes.dry else ratio >= GOAL,
    )


def _nothing() -> None:
    """Stand in for the turns that ``benchmarks/attribution.py`` takes."""
