"""A thousand few-shot SVMs: our batched engine against the loop that a user would write with scikit-learn.

1,000 trials, 10 + 10 support images, 10,000 queries, 768 dimensions, RBF SVM and AUROC, the same draws for both, in
one process. Prints a table and, last, one JSON line. ``--device cuda`` runs ours on a GPU. ``--neighbour`` measures
both beside a process that streams memory on the last core. On a machine that others use, ``--repeat`` runs ours
several times and takes medians, ``--loop-trials`` times the loop on fewer trials and scales.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from fewshot.solvers import batched
from fewshot.solvers.prepared_pool import Supports

# copies 256 MiB to and fro, more than any cache holds, until it is killed or its parent is gone
STREAM = """
import os
import numpy as np
parent = os.getppid()
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
one, other = np.ones(1 << 25), np.zeros(1 << 25)
print("streaming", flush=True)
while os.getppid() == parent:
    np.copyto(other, one)
    np.copyto(one, other)
"""


def pool(queries: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit-length features (N, D) float32 with a weak class signal, and labels (N,)."""
    generator = np.random.default_rng(seed)
    synthetic = np.arange(queries) % 2 == 1
    features = generator.normal(size=(queries, dimension)).astype(np.float32)
    features[:, :8] += np.where(synthetic, 0.35, -0.35).astype(np.float32)[:, None]
    return features / np.linalg.norm(features, axis=1, keepdims=True), synthetic


def draw(synthetic: np.ndarray, trials: int, shots: int, seed: int) -> np.ndarray:
    """Return (T, 2 * shots) supports drawn from the whole pool; everything else is the query."""
    generator = np.random.default_rng(seed)
    classes = [np.flatnonzero(~synthetic), np.flatnonzero(synthetic)]
    return np.stack([np.concatenate([generator.permutation(rows)[:shots] for rows in classes]) for _ in range(trials)])


def loop(features: np.ndarray, synthetic: np.ndarray, supports: np.ndarray, tol: float) -> np.ndarray:
    """Do it with scikit-learn, one trial after another."""
    found = []
    for support in supports:
        query = np.setdiff1d(np.arange(len(features)), support)
        model = SVC(C=1.0, kernel="rbf", gamma="scale", tol=tol).fit(features[support], synthetic[support])
        found.append(roc_auc_score(synthetic[query], model.decision_function(features[query])))
    return np.array(found)


def ours(features: np.ndarray, synthetic: np.ndarray, supports: np.ndarray, device: str) -> np.ndarray:
    """Do it all at once."""
    draws = Supports(features, synthetic, supports, device)
    return batched.query_auroc(draws, batched.svm_scores(draws))


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, the seconds that passed, and the processor seconds spent (they tell a busy machine)."""
    start, spent = time.perf_counter(), time.process_time()
    result = run()
    return result, time.perf_counter() - start, time.process_time() - spent


@contextlib.contextmanager
def neighbour(*, wanted: bool) -> Iterator[None]:
    """Keep a process that streams memory on the last core, where it is wanted."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", STREAM], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tight", type=int, default=100, help="trials also solved by scikit-learn at tol=1e-10")
    parser.add_argument("--neighbour", action="store_true", help="beside a process that streams memory on one core")
    parser.add_argument("--repeat", type=int, default=1, help="runs of ours, of which the median is reported")
    parser.add_argument("--loop-trials", type=int, help="trials on which scikit-learn's loop is timed; seconds scaled")
    return parser.parse_args()


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run both and return what is reported."""
    features, synthetic = pool(options.queries + 2 * options.shots, options.dimension, seed=0)
    supports = draw(synthetic, options.trials, options.shots, seed=1)
    timed_trials = min(options.loop_trials or options.trials, options.trials)
    tight_trials = min(options.tight, timed_trials)
    ours(features[:200], synthetic[:200], draw(synthetic[:200], 4, 2, seed=0), options.device)  # start the libraries
    with neighbour(wanted=options.neighbour):
        runs = [timed(lambda: ours(features, synthetic, supports, options.device)) for _ in range(options.repeat)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        slow, *slow_times = timed(lambda: loop(features, synthetic, supports[:timed_trials], 1e-3))
    tight = loop(features, synthetic, supports[:tight_trials], 1e-10)
    fast = runs[0][0]
    fast_seconds, fast_spent = (statistics.median(run[which] for run in runs) for which in (1, 2))
    slow_seconds, slow_spent = (value * options.trials / timed_trials for value in slow_times)
    return {
        "trials": options.trials,
        "queries": options.queries,
        "dimension": options.dimension,
        "device": options.device,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "neighbour": options.neighbour,
        "repeats": options.repeat,
        "sklearn_trials_timed": timed_trials,
        "ours_seconds": round(fast_seconds, 3),
        "sklearn_seconds": round(slow_seconds, 3),
        "ours_processor_seconds": round(fast_spent, 3),
        "sklearn_processor_seconds": round(slow_spent, 3),
        "speedup": round(slow_seconds / fast_seconds, 1),
        "speedup_in_processor_seconds": round(slow_spent / fast_spent, 1),
        "largest_auroc_difference_default_tol": float(np.abs(fast[:timed_trials] - slow).max()),
        "largest_auroc_difference_tol_1e-10": float(np.abs(fast[:tight_trials] - tight).max()),
        "peak_memory_gib_ours": round(peak, 2),
        "mean_auroc": round(float(fast.mean()), 4),
    }


def main() -> None:
    """Measure and print."""
    options = arguments()
    result = measured(options)
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:<{width}}  {value}")
    if result["sklearn_trials_timed"] < options.trials:
        print(
            f"scikit-learn's loop was timed on {result['sklearn_trials_timed']} of {options.trials} trials; "
            "its seconds are scaled to all of them"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
