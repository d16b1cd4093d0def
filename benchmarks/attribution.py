"""One pass of ACM training over 72,000 x 768 at batch 256: ours from the store, a plain PyTorch loop, bare passes.

Run: ``python benchmarks/attribution.py [--rows 72000] [--rounds 7] [--device cpu]``. The contestants take
turns of fifty steps, so that whatever slows the machine slows them all. Seconds add up each turn's median over the
rounds, and beside it each turn's best, where nothing else was in the way. The last line is one JSON document.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import greenlet
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.reconstruction.perceptron import PerceptronStack
from fewshot.reconstruction.stream import WINDOW_BYTES, RowStream
from fewshot.reconstruction.training import CLASSIFIER_STD, REPORT_EVERY_STEPS, TrainingRows, train
from fewshot.reconstruction.training_settings import TrainingSettings, budget

D, SEED = 768, 0
Lap = Callable[[], None]
OURS, PLAIN, BARE = "ours, from the store", "plain PyTorch loop", "bare passes"


def make_store(path: Path, rows: int) -> FeatureStore:
    generator = np.random.default_rng(SEED)
    synthetic = np.arange(rows) >= rows // 2  # source after source, as `fewshot embed` writes them
    features = generator.normal(size=(rows, D)).astype(np.float16)
    features[synthetic, :8] += 0.5
    samples = pd.DataFrame(
        {"key": np.arange(rows).astype(str), "source": np.where(synthetic, "made", "nature"), "synthetic": synthetic}
    )
    write_store(path, samples, [LayerData("clip", "projected", features, default=True)])
    return FeatureStore(path)


@dataclass(frozen=True)
class Pass:
    """One pass over a store: what every contestant is given.

    Args:
        store: the features; class_rows, other_rows: rows of the class that is fitted, and of the other one.
        steps, half: of the pass, and half of a batch.
        batches: the rows of each batch, as our training takes them.
        features, labels: the same rows in memory.
    """

    store: FeatureStore
    class_rows: Any
    other_rows: Any
    steps: int
    half: int
    batches: list[list[int]]
    features: Tensor
    labels: Tensor

    @classmethod
    def over(cls, path: Path, rows: int) -> "Pass":
        store = make_store(path, rows)
        class_rows, other_rows = np.flatnonzero(~store.synthetic), np.flatnonzero(store.synthetic)
        plan = budget(TrainingSettings(), class_rows=len(class_rows), other_rows=len(other_rows))
        return cls(
            store,
            class_rows,
            other_rows,
            plan.epoch,
            plan.half,
            our_batches(class_rows, other_rows, plan.epoch, plan.half),
            torch.from_numpy(store.read_stored(None, "clip", "projected")),
            torch.from_numpy(store.synthetic.astype(np.float32)),
        )

    def ours(self, device: torch.device, lap: Lap) -> Any:
        return ours(self.store, self.class_rows, self.other_rows, TrainingSettings(steps=self.steps), device, lap)

    def plain(self, device: torch.device, lap: Lap) -> Any:
        return plain(self.features, self.labels, self.batches, device, lap)


def as_module(stack: PerceptronStack, device: torch.device) -> nn.Sequential:
    parts: list[nn.Module] = []
    for (weight, bias), rectified in zip(stack.layers(0), stack.relu, strict=True):
        linear = nn.Linear(weight.shape[0], weight.shape[1])
        linear.weight.data.copy_(weight.T)
        linear.bias.data.copy_(bias)
        parts += [linear, nn.ReLU()] if rectified else [linear]
    return nn.Sequential(*parts).to(device)


def start(device: torch.device) -> tuple[nn.Sequential, nn.Sequential]:
    """Both networks as our training starts them."""
    widths, relu = TrainingSettings().autoencoder(D)
    encoder_decoder = PerceptronStack(widths, relu=relu, seeds=[SEED])
    classifier = PerceptronStack((D, 1), relu=(False,), seeds=[SEED + (1 << 32)], std=CLASSIFIER_STD)
    return as_module(encoder_decoder, device), as_module(classifier, device)


def _row_numbers(rows: Any) -> Any:
    """Return what a stream reads in place of features: the numbers of its rows."""
    return rows[:, None]


def our_batches(class_rows: Any, other_rows: Any, steps: int, half: int) -> list[list[int]]:
    """The rows of every batch of our training: the streams of the same seed, read as row numbers."""
    window = WINDOW_BYTES // (2 * D) * 8  # as many row numbers as float16 rows of ours
    streams = [
        RowStream(_row_numbers, rows, seed=(SEED, n), window_bytes=window)
        for n, rows in enumerate((class_rows, other_rows))
    ]
    return [[int(row) for stream in streams for row in stream.take(half)[:, 0]] for _ in range(steps)]


def ours(
    store: FeatureStore, class_rows: Any, other_rows: Any, recipe: TrainingSettings, device: torch.device, lap: Lap
) -> Any:
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
        if step % REPORT_EVERY_STEPS == 0 or step == len(batches):
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
        if step % REPORT_EVERY_STEPS == 0 or step == steps:
            lap()


class Turns:
    """One round: every contestant runs once, all in this thread, switching to the next one after every lap.

    Attributes:
        wall, cpu: per contestant, the seconds of every turn.
        results: what each returned.
    """

    def __init__(self, contestants: dict[str, Callable[[Lap], Any]], device: torch.device) -> None:
        self.device = device
        self.wall: dict[str, list[float]] = {name: [] for name in contestants}
        self.cpu: dict[str, list[float]] = {name: [] for name in contestants}
        self.results: dict[str, Any] = {}
        self._main = greenlet.getcurrent()
        running = {name: greenlet.greenlet(partial(self._run, name, run)) for name, run in contestants.items()}
        gradients = dict.fromkeys(contestants, True)  # PyTorch keeps this switch per thread, not per contestant
        while running:
            for name, contestant in list(running.items()):
                torch.set_grad_enabled(gradients[name])
                started, used = time.perf_counter(), time.process_time()
                contestant.switch()
                gradients[name] = torch.is_grad_enabled()
                if contestant.dead:
                    del running[name]
                    continue
                self.wall[name].append(time.perf_counter() - started)
                self.cpu[name].append(time.process_time() - used)
        torch.set_grad_enabled(True)

    def _run(self, name: str, run: Callable[[Lap], Any]) -> None:
        self.results[name] = run(self._lap)

    def _lap(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self._main.switch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=72_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        given = Pass.over(Path(folder) / "features.h5", options.rows)
        first = given.batches[0]
        contestants: dict[str, Callable[[Lap], Any]] = {
            OURS: lambda lap: given.ours(device, lap),
            PLAIN: lambda lap: given.plain(device, lap),
            BARE: lambda lap: bare(given.features[first].float(), given.labels[first], given.steps, device, lap),
        }
        rounds = []
        for number in range(options.rounds):
            rounds.append(Turns(contestants, device))
            spoken = ", ".join(f"{name} {sum(seconds):.2f} s" for name, seconds in rounds[-1].wall.items())
            print(f"round {number + 1}: {spoken}", file=sys.stderr, flush=True)
    difference = float(np.abs(rounds[-1].results[OURS] - rounds[-1].results[PLAIN]).max())
    report(given.steps, given.half, device, rounds, difference)


def report(steps: int, half: int, device: torch.device, rounds: list[Turns], difference: float) -> None:
    def summed(over: Callable[..., Any], seconds: str) -> dict[str, float]:
        return {
            name: float(over([getattr(turns, seconds)[name] for turns in rounds], axis=0).sum())
            for name in rounds[0].wall
        }

    usual, best, cpu = summed(np.median, "wall"), summed(np.min, "wall"), summed(np.median, "cpu")
    print(f"{steps} steps of {2 * half} rows, {torch.get_num_threads()} threads, {device}")
    print(f"{'':24}{'median s':>10}{'best s':>10}{'CPU s':>10}{'ms/step':>10}")
    for name in usual:
        milliseconds = 1000 * usual[name] / steps
        print(f"{name:24}{usual[name]:10.2f}{best[name]:10.2f}{cpu[name]:10.2f}{milliseconds:10.1f}")
    result = {
        "benchmark": "attribution",
        "device": str(device),
        "threads": torch.get_num_threads(),
        "steps": steps,
        "wall_seconds": usual,
        "best_seconds": best,
        "cpu_seconds": cpu,
        "times_faster_than_plain": usual[PLAIN] / usual[OURS],
        "times_faster_than_plain_at_best": best[PLAIN] / best[OURS],
        "times_less_cpu_than_plain": cpu[PLAIN] / cpu[OURS],
        "over_bare_passes": usual[OURS] / usual[BARE] - 1,
        "over_bare_passes_at_best": best[OURS] / best[BARE] - 1,
        "largest_loss_difference": difference,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
