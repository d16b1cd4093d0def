"""A thousand few-shot SVMs on the device against scikit-learn's loop on the CPU, and how far their AUROCs differ.

The loop runs some of the trials; its seconds are scaled to all of them.
"""

import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.episodes import draw, loop, ours, pool
from benchmarks.gpu.line import Line
from benchmarks.gpu.parts.card import synchronize
from benchmarks.gpu.sizes import Sizes

SHOTS = 10
GOAL = 500


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield the seconds of both and their ratio."""
    device = torch.device(sizes.device)
    features, synthetic = pool(sizes.queries + 2 * SHOTS, sizes.dimension, seed=0)
    supports = draw(synthetic, sizes.trials, SHOTS, seed=1)
    ours(features, synthetic, supports[:4], str(device))  # starts the libraries
    synchronize(device)
    started = time.perf_counter()
    fast = ours(features, synthetic, supports, str(device))
    synchronize(device)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    slow = loop(features, synthetic, supports[: sizes.loop_trials], 1e-10)
    scaled = (time.perf_counter() - started) * sizes.trials / sizes.loop_trials
    difference = float(np.abs(fast[: sizes.loop_trials] - slow).max())
    ratio = scaled / seconds
    yield Line(
        f"{sizes.trials} RBF SVMs, {sizes.queries} queries of {sizes.dimension}",
        {"ours s": seconds, "scikit-learn s (scaled)": scaled, "ratio": ratio, "largest AUROC difference": difference},
        wanted=f"ratio >= {GOAL}, difference <= 1e-6",
        met=difference <= 1e-6 if sizes.dry else ratio >= GOAL and difference <= 1e-6,
    )
