"""Seven backbones in one machine against one backbone: weights, kernels, scores and AUROC of all trials at once.

Both sides are ours and run on the same draws, round after round in one process; the fused side also cross-validates
every backbone inside every support. A minute by default; ``--full`` is 1,000 trials of 10 + 10 images, 10,000 queries
and seven backbones of 768 dimensions. Prints a table and, last, one JSON line.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from fewshot.heads.base import Head
from fewshot.heads.fused import Fused
from fewshot.heads.stacked import Stacked
from fewshot.heads.svm import Svm
from fewshot.solvers import batched
from fewshot.solvers.prepared_pool import Supports

SMALL = {"trials": 200, "queries": 2_000, "dimension": 256}
FULL = {"trials": 1_000, "queries": 10_000, "dimension": 768}


def pool(queries: int, dimension: int, backbones: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, backbones * dimension) float32, each block of unit length, and labels (N,).

    The first block sees the class well, the others less and less, the last one nothing.
    """
    generator = np.random.default_rng(0)
    synthetic = np.arange(queries) % 2 == 1
    side = np.where(synthetic, 0.35, -0.35).astype(np.float32)[:, None]
    features = np.empty((queries, backbones * dimension), np.float32)
    for number in range(backbones):
        block = generator.normal(size=(queries, dimension)).astype(np.float32)
        block[:, :8] += side * (1 - number / max(1, backbones - 1))
        features[:, number * dimension : (number + 1) * dimension] = block / np.linalg.norm(block, axis=1)[:, None]
    return features, synthetic


def draw(synthetic: np.ndarray, trials: int, shots: int) -> np.ndarray:
    """Return (T, 2 * shots) supports drawn from the whole pool; everything else is the query."""
    generator = np.random.default_rng(1)
    classes = [np.flatnonzero(~synthetic), np.flatnonzero(synthetic)]
    return np.stack([np.concatenate([generator.permutation(rows)[:shots] for rows in classes]) for _ in range(trials)])


def timed(run: Callable[[], np.ndarray]) -> tuple[float, float, float]:
    """Return the mean AUROC, the seconds that passed, and the processor seconds spent (they tell a busy machine)."""
    start, spent = time.perf_counter(), time.process_time()
    result = run()
    return float(result.mean()), time.perf_counter() - start, time.process_time() - spent


def aurocs(head: Head, features: np.ndarray, synthetic: np.ndarray, supports: np.ndarray, device: str) -> np.ndarray:
    """Return (T,) the AUROC of every trial."""
    scores = head.score_draws(features, synthetic, supports, device=device)
    return batched.query_auroc(Supports(features, synthetic, supports, device), scores)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="1,000 trials, 10,000 queries, 768 dimensions")
    parser.add_argument("--backbones", type=int, default=7)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    size = FULL if options.full else SMALL
    features, synthetic = pool(size["queries"] + 2 * options.shots, size["dimension"], options.backbones)
    supports = draw(synthetic, size["trials"], options.shots)
    widths = (size["dimension"],) * options.backbones
    first = np.ascontiguousarray(features[:, : widths[0]])
    sides: dict[str, tuple[Head, np.ndarray]] = {
        "one": (Svm(), first),
        "fused": (Fused(widths), features),
        "stacked": (Stacked(widths), features),
    }
    for head, given in sides.values():  # start the libraries
        head.score_draws(given[:200], synthetic[:200], draw(synthetic[:200], 4, options.shots), device=options.device)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, (head, given) in sides.items():
            found[name].append(timed(lambda h=head, g=given: aurocs(h, g, synthetic, supports, options.device)))
    result = {**size, "backbones": options.backbones, "device": options.device, "threads": torch.get_num_threads()}
    for name, rounds in found.items():
        result[f"{name}_auroc"] = round(rounds[0][0], 4)
        result[f"{name}_seconds"] = round(statistics.median(part[1] for part in rounds), 3)
        result[f"{name}_processor_seconds"] = round(statistics.median(part[2] for part in rounds), 3)
    for name in ("fused", "stacked"):
        for unit in ("seconds", "processor_seconds"):
            result[f"{name}_times_one_in_{unit}"] = round(result[f"{name}_{unit}"] / result[f"one_{unit}"], 2)
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:<{width}}  {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
