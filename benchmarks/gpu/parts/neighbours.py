"""FAISS on the GPU where its build has one: the rows it finds against those of exact search on the CPU."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.gpu.line import Line
from benchmarks.gpu.sizes import Sizes
from fewshot.embeddings.store.writer import LayerData, write_store

NEIGHBOURS = 10
DIMENSION = 768


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield the seconds of both and whether their rows are equal."""
    what = f"{sizes.index_queries} queries of {sizes.index_rows} x {DIMENSION}"
    try:
        import faiss
    except ImportError:
        yield Line(what, skipped="no FAISS")
        return
    if not sizes.dry and getattr(faiss, "get_num_gpus", lambda: 0)() == 0:
        yield Line(what, skipped=f"FAISS {faiss.__version__} sees no GPU")
        return
    yield compared(what, sizes)


def compared(what: str, sizes: Sizes) -> Line:
    """Return the line of one flat index, searched on both."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(sizes.index_rows, DIMENSION)).astype(np.float32)
    noise = generator.normal(size=(sizes.index_queries, DIMENSION)).astype(np.float32)
    queries = features[: sizes.index_queries] + 0.1 * noise
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        write_store(path, _samples(len(features)), [LayerData("clip", "projected", features, default=True)])
        (exact, there), seconds = zip(
            *(_searched(path, queries, place) for place in ("cpu", sizes.device)), strict=True
        )
    return Line(
        what,
        {"CPU s": seconds[0], "device s": seconds[1]},
        wanted="equal rows",
        met=bool(np.array_equal(exact, there)),
    )


def _samples(rows: int) -> pd.DataFrame:
    synthetic = np.arange(rows) % 2 == 1
    sources = np.where(synthetic, "gan", "camera")
    return pd.DataFrame({"key": np.arange(rows).astype(str), "source": sources, "synthetic": synthetic})


def _searched(path: Path, queries: np.ndarray, device: str) -> tuple[np.ndarray, float]:
    """Return the rows found (Q, k) and the seconds of the search, after one that warms up."""
    from fewshot.embeddings.search.index import SourceIndex  # imports FAISS

    index = SourceIndex(path, device=device)
    index.nearest(queries[:8], k=NEIGHBOURS)
    started = time.perf_counter()
    found = index.nearest(queries, k=NEIGHBOURS)
    return found.rows, time.perf_counter() - started
