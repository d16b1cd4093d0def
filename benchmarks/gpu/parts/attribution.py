"""One pass of ACM training on the device: ours from the store against the plain loop that a user would write."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.attribution import make_store, our_batches, ours, plain
from benchmarks.gpu.line import Line
from benchmarks.gpu.parts.card import synchronize
from benchmarks.gpu.sizes import Sizes
from fewshot.reconstruction.training_settings import TrainingSettings, budget

GOAL = 5


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield the seconds of both, their ratio, and how far their losses differ."""
    device = torch.device(sizes.device)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "features.h5", sizes.pass_rows)
        class_rows, other_rows = np.flatnonzero(~store.synthetic), np.flatnonzero(store.synthetic)
        plan = budget(TrainingSettings(), class_rows=len(class_rows), other_rows=len(other_rows))
        recipe = TrainingSettings(steps=plan.epoch)
        batches = our_batches(class_rows, other_rows, plan.epoch, plan.half)
        features = torch.from_numpy(store.read_stored(None, "clip", "projected"))
        labels = torch.from_numpy(store.synthetic.astype(np.float32))
        seconds, losses = [], []
        for work in (
            lambda: plain(features, labels, batches, device, _nothing),
            lambda: ours(store, class_rows, other_rows, recipe, device, _nothing),
        ):
            synchronize(device)
            started = time.perf_counter()
            losses.append(work())
            synchronize(device)
            seconds.append(time.perf_counter() - started)
    ratio = seconds[0] / seconds[1]
    yield Line(
        f"one pass over {sizes.pass_rows} x 768, {plan.epoch} steps",
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
