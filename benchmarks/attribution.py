"""One pass of ACM training over 72,000 x 768 at batch 256: ours from the store, a plain PyTorch loop, bare passes.

Run: ``python benchmarks/attribution.py [--rows 72000] [--rounds 3] [--device cpu]``. The contestants take turns. Every
fifty steps are timed, and wall seconds add up the best round of each fifty, so that a moment's load of the machine
counts in none; CPU seconds stand beside them. The last line is one JSON document.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fewshot.embeddings.store import FeatureStore
from fewshot.embeddings.writer import LayerData, write_store
from fewshot.reconstruction.perceptron import PerceptronStack
from fewshot.reconstruction.recipe import Recipe, budget
from fewshot.reconstruction.stream import WINDOW_BYTES, RowStream
from fewshot.reconstruction.training import CLASSIFIER_STD, TELL_EVERY_STEPS, TrainingRows, train

D, SEED = 768, 0
Lap = Callable[[], None]
OURS, PLAIN, BARE = "ours, from the store", "plain PyTorch loop", "bare passes"


def make_store(path: Path, rows: int) -> FeatureStore:
    generator = np.random.default_rng(SEED)
    synthetic = np.arange(rows) % 2 == 1
    features = generator.normal(size=(rows, D)).astype(np.float16)
    features[synthetic, :8] += 0.5
    samples = pd.DataFrame(
        {"key": np.arange(rows).astype(str), "source": np.where(synthetic, "made", "nature"), "synthetic": synthetic}
    )
    write_store(path, samples, [LayerData("clip", "projected", features, default=True)])
    return FeatureStore(path)


def as_module(stack: PerceptronStack, device: torch.device) -> nn.Sequential:
    parts: list[nn.Module] = []
    for (weight, bias), rectified in zip(stack.layers(0), stack.relu, strict=True):
        linear = nn.Linear(*weight.shape)
        linear.weight.data.copy_(weight.T)
        linear.bias.data.copy_(bias)
        parts += [linear, nn.ReLU()] if rectified else [linear]
    return nn.Sequential(*parts).to(device)


def start(device: torch.device) -> tuple[nn.Sequential, nn.Sequential]:
    """Both networks as our training starts them."""
    widths, relu = Recipe().autoencoder(D)
    encoder_decoder = PerceptronStack(widths, relu=relu, seeds=[SEED])
    classifier = PerceptronStack((D, 1), relu=(False,), seeds=[SEED + (1 << 32)], std=CLASSIFIER_STD)
    return as_module(encoder_decoder, device), as_module(classifier, device)


def our_batches(class_rows: Any, other_rows: Any, steps: int, half: int) -> list[list[int]]:
    """The rows of every batch of our training: the streams of the same seed, read as row numbers."""
    window = WINDOW_BYTES // (2 * D) * 8  # as many row numbers as float16 rows of ours
    streams = [
        RowStream(lambda r: r[:, None], rows, seed=(SEED, n), window_bytes=window)
        for n, rows in enumerate((class_rows, other_rows))
    ]
    return [[int(row) for stream in streams for row in stream.take(half)[:, 0]] for _ in range(steps)]


def ours(store: FeatureStore, class_rows: Any, other_rows: Any, recipe: Recipe, device: torch.device, lap: Lap) -> Any:
    entry = TrainingRows(lambda rows: store.read_stored(rows, "clip", "projected"), class_rows, other_rows, SEED)
    (trained,) = train([entry], recipe, fit_on_synthetic=False, device=device, advance=lambda *_: lap())
    return np.column_stack([trained.attribution_loss, trained.classification_loss])


def plain(features: Tensor, labels: Tensor, batches: list[list[int]], device: torch.device, lap: Lap) -> Any:
    """What a user would write, on float16 features that lie in memory already."""
    encoder_decoder, classifier = start(device)
    adams = [torch.optim.Adam(network.parameters(), lr=2e-4) for network in (encoder_decoder, classifier)]
    losses = []
    for step, (batch, label) in enumerate(DataLoader(TensorDataset(features, labels), batch_sampler=batches), start=1):
        batch, label = batch.to(device).float(), label.to(device)
        fitted = batch[label == 0]
        attribution = (fitted - encoder_decoder(fitted)).abs().mean()
        adams[0].zero_grad()
        attribution.backward()
        adams[0].step()
        with torch.no_grad():
            deviation = (batch - encoder_decoder(batch)).abs()
        classification = nn.functional.binary_cross_entropy_with_logits(classifier(deviation)[:, 0], label)
        adams[1].zero_grad()
        classification.backward()
        adams[1].step()
        losses.append((attribution.item(), classification.item()))
        if step % TELL_EVERY_STEPS == 0 or step == len(batches):
            lap()
    return np.array(losses)


def bare(batch: Tensor, label: Tensor, steps: int, device: torch.device, lap: Lap) -> None:
    """The forward and backward passes alone: one batch again and again, no reading, no optimiser."""
    encoder_decoder, classifier = start(device)
    batch, label = batch.to(device), label.to(device)
    fitted = batch[label == 0]
    for step in range(1, steps + 1):
        encoder_decoder.zero_grad()
        (fitted - encoder_decoder(fitted)).abs().mean().backward()
        with torch.no_grad():
            deviation = (batch - encoder_decoder(batch)).abs()
        classifier.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(classifier(deviation)[:, 0], label).backward()
        if step % TELL_EVERY_STEPS == 0 or step == steps:
            lap()


def timed(run: Callable[[Lap], Any], device: torch.device) -> tuple[list[float], float, Any]:
    """Return (seconds of every lap, CPU seconds, what the run returned)."""
    cpu, marks = time.process_time(), [time.perf_counter()]

    def lap() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    result = run(lap)
    return np.diff(marks).tolist(), time.process_time() - cpu, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=72_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "features.h5", options.rows)
        class_rows, other_rows = np.flatnonzero(~store.synthetic), np.flatnonzero(store.synthetic)
        plan = budget(Recipe(), class_rows=len(class_rows), other_rows=len(other_rows))
        recipe = Recipe(steps=plan.epoch)
        batches = our_batches(class_rows, other_rows, plan.epoch, plan.half)
        features = torch.from_numpy(store.read_stored(None, "clip", "projected"))
        labels = torch.from_numpy(store.synthetic.astype(np.float32))
        contestants: dict[str, Callable[[Lap], Any]] = {
            OURS: lambda lap: ours(store, class_rows, other_rows, recipe, device, lap),
            PLAIN: lambda lap: plain(features, labels, batches, device, lap),
            BARE: lambda lap: bare(features[batches[0]].float(), labels[batches[0]], plan.epoch, device, lap),
        }
        wall: dict[str, list[list[float]]] = {name: [] for name in contestants}
        cpu: dict[str, list[float]] = {name: [] for name in contestants}
        losses = {}
        for number in range(options.rounds):
            for name, run in contestants.items():
                seconds, cpu_seconds, losses[name] = timed(run, device)
                wall[name].append(seconds)
                cpu[name].append(cpu_seconds)
                print(f"round {number + 1}: {name}: {sum(seconds):.2f} s", file=sys.stderr, flush=True)
    report(plan.epoch, plan.half, device, wall, cpu, float(np.abs(losses[OURS] - losses[PLAIN]).max()))


def report(
    steps: int, half: int, device: torch.device, wall: dict[str, Any], cpu: dict[str, Any], difference: float
) -> None:
    best = {name: float(np.min(laps, axis=0).sum()) for name, laps in wall.items()}
    least = {name: min(seconds) for name, seconds in cpu.items()}
    print(f"{steps} steps of {2 * half} rows, {torch.get_num_threads()} threads, {device}")
    print(f"{'':24}{'wall s':>10}{'CPU s':>10}{'ms/step':>10}")
    for name in best:
        print(f"{name:24}{best[name]:10.2f}{least[name]:10.2f}{1000 * best[name] / steps:10.1f}")
    result = {
        "benchmark": "attribution",
        "device": str(device),
        "threads": torch.get_num_threads(),
        "steps": steps,
        "wall_seconds": best,
        "cpu_seconds": least,
        "times_faster_than_plain": best[PLAIN] / best[OURS],
        "times_less_cpu_than_plain": least[PLAIN] / least[OURS],
        "over_bare_passes": best[OURS] / best[BARE] - 1,
        "cpu_over_bare_passes": least[OURS] / least[BARE] - 1,
        "largest_loss_difference": difference,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
