"""SourceIndex against FAISS called by hand: time to build and search, recall, and peak memory.

    python benchmarks/nearest.py [--rows 200000] [--dimension 768] [--queries 1000] [--kinds flat,hnsw,ivf-flat,ivf-pq]

A store is written to a temporary folder. Every measurement runs in a process of its own, so that its peak memory is its
own, and in CPU seconds as well as by the clock, since other work on the machine moves only the clock. FAISS by hand
starts from an array that is already in memory; the time that h5py needs to read the layer is taken off ours, since no
one can search a file without reading it. Prints a table and, last, one JSON line.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 4096
NEIGHBOURS = 10


def main() -> None:
    """Write the store, run every measurement in a new process, print table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--kinds", default="flat,hnsw,ivf-flat,ivf-pq")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASUREMENTS[options.measure.partition(":")[0]](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        print(json.dumps(_all(options)))


def _all(options: argparse.Namespace) -> dict[str, Any]:
    measure(options, "write")
    hand, read, ours = [], [], []
    for _ in range(options.repeats):  # taken in turn, so that a busy machine slows all of them alike
        hand.append(measure(options, "by_hand"))
        read.append(measure(options, "read"))
        ours.append(measure(options, "ours:flat"))
    print(f"{options.rows} rows of {options.dimension}, {options.queries} queries, {NEIGHBOURS} neighbours, cosine")
    print(f"fastest of {options.repeats}                      by the clock   CPU")
    times = {}
    for clock in ("seconds", "cpu"):
        fastest = [min(one[clock] for one in several) for several in (hand, read, ours)]
        times[clock] = (*fastest, (fastest[2] - fastest[1]) / fastest[0])
    words = ("FAISS by hand, array in memory", "h5py reads the layer", "SourceIndex, store to answers")
    for number, what in enumerate(words):
        print(f"  {what:<32}{times['seconds'][number]:10.2f} s{times['cpu'][number]:8.2f} s")
    print(f"  {'less reading, times by hand':<32}{times['seconds'][3]:10.3f}  {times['cpu'][3]:8.3f}")
    lines = [ours[-1]] + [measure(options, f"ours:{kind}") for kind in options.kinds.split(",") if kind != "flat"]
    print("  kind       build s  search s  effort  stated recall  recall@10  index MiB  peak MiB  peak / index")
    for one in lines:
        share = one["peak_mib"] / one["index_mib"]
        print(
            f"  {one['kind']:<9}{one['build']:9.2f}{one['search']:10.2f}{one['effort']:8}{one['stated']:15.3f}"
            f"{one['recall']:11.3f}{one['index_mib']:11.0f}{one['peak_mib']:10.0f}{share:14.2f}"
        )
    keys = ("by_hand", "read", "flat", "ratio")
    return {
        "rows": options.rows,
        "dimension": options.dimension,
        "queries": options.queries,
        **{f"{key}_{clock}": times[clock][number] for clock in times for number, key in enumerate(keys)},
        "kinds": lines,
    }


def measure(options: argparse.Namespace, what: str) -> dict[str, Any]:
    """Run one measurement in a new process and return what it printed."""
    command = [sys.executable, __file__, "--measure", what, "--folder", str(options.folder)]
    for name in ("rows", "dimension", "queries"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def blocks(rows: int, dimension: int, seed: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yield features like a network's: many overlapping clusters in a subspace, with noise in every direction."""
    fixed = np.random.default_rng(0)
    centres = fixed.normal(size=(500, 64)).astype(np.float32)
    mixing = fixed.normal(size=(64, dimension)).astype(np.float32) / 8
    generator = np.random.default_rng(seed)
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        inner = centres[generator.integers(0, 500, size)] + generator.normal(size=(size, 64)).astype(np.float32)
        yield inner @ mixing + 0.3 * generator.normal(size=(size, dimension)).astype(np.float32)


def queries_of(options: argparse.Namespace) -> np.ndarray[Any, Any]:
    """Return queries drawn as the rows are, with another seed."""
    return np.concatenate(list(blocks(options.queries, options.dimension, 2)))


def write(options: argparse.Namespace) -> dict[str, Any]:
    """Write the store, the same rows as .npy, and the exact answers of FAISS by hand."""
    import pandas as pd

    from fewshot.embeddings.layer_key import LayerKey
    from fewshot.embeddings.store.sample_columns import FrameColumns
    from fewshot.embeddings.store.writer import LayerHeader, StoreWriter

    rows = options.rows
    samples = pd.DataFrame(
        {
            "key": [str(row) for row in range(rows)],
            "source": [f"s{row % 20}" for row in range(rows)],
            "synthetic": [row % 20 > 3 for row in range(rows)],
        }
    )
    with StoreWriter(options.folder / "store.h5", FrameColumns(samples)) as writer:
        header = LayerHeader(LayerKey("net", "pooled"), options.dimension, default=True)
        writer.add_blocks(header, blocks(rows, options.dimension, 1))
        writer.seal()
    np.save(options.folder / "rows.npy", np.concatenate(list(blocks(rows, options.dimension, 1))))
    return {}


def by_hand(options: argparse.Namespace) -> dict[str, Any]:
    """Time FAISS as a user would call it on an array in memory: normalise, add, search."""
    import faiss

    rows, queries = np.load(options.folder / "rows.npy"), queries_of(options)
    started, busy = time.perf_counter(), time.process_time()
    faiss.normalize_L2(rows)
    faiss.normalize_L2(queries)
    index = faiss.IndexFlatIP(options.dimension)
    index.add(rows)
    _, found = index.search(queries, NEIGHBOURS)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    np.save(options.folder / "exact.npy", found)
    return {"seconds": seconds, "cpu": cpu}


def read(options: argparse.Namespace) -> dict[str, Any]:
    """Time h5py reading the layer block by block."""
    import h5py

    started, busy = time.perf_counter(), time.process_time()
    with h5py.File(options.folder / "store.h5", "r") as file:
        layer = file["/features/net/pooled"]
        for start in range(0, len(layer), BLOCK):
            layer[start : start + BLOCK]
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - busy}


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Time SourceIndex from the store's path to answers; measure recall and peak memory."""
    from fewshot.embeddings.search.index import SourceIndex

    kind = options.measure.partition(":")[2]
    queries = queries_of(options)
    before = _resident()
    started, busy = time.perf_counter(), time.process_time()
    index = SourceIndex(options.folder / "store.h5", index=kind, device="cpu")
    built = time.perf_counter()
    found = index.nearest(queries, NEIGHBOURS)
    searched, cpu = time.perf_counter(), time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    exact = np.load(options.folder / "exact.npy")
    recall = np.mean([len(np.intersect1d(a, b)) / NEIGHBOURS for a, b in zip(found.rows, exact, strict=True)])
    saved = index.save(options.folder / "index.faiss")
    return {
        "kind": kind,
        "build": built - started,
        "search": searched - built,
        "seconds": searched - started,
        "cpu": cpu,
        "effort": index.choice.effort,
        "stated": index.choice.recall,
        "recall": float(recall),
        "index_mib": saved.stat().st_size / 2**20,
        "peak_mib": peak / 2**20,
    }


def _resident() -> int:
    """Return the resident memory of this process in bytes; its peak so far must not be far above (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


MEASUREMENTS = {"write": write, "by_hand": by_hand, "read": read, "ours": ours}


if __name__ == "__main__":
    main()
