"""A batch that does not fit: a real out-of-memory error must halve the batch, lose no image and change no feature."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.gpu.line import Line
from benchmarks.gpu.parts.throughput import image_files
from benchmarks.gpu.sizes import Sizes
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.extract import extract
from fewshot.embeddings.extraction import Extraction

SPEC = "npr"
FREE_BYTES = 3 << 30  # what is left on the card


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield one line: the batch asked for, the one that fitted, the rows, and the difference to a run that fitted."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        image_files(root, count=sizes.backoff_images, side=128)
        fits = _run(root, Path(folder) / "fits.h5", sizes, batch_size=4)
        with _little_memory(sizes):
            backed = _run(root, Path(folder) / "backed.h5", sizes, batch_size=sizes.backoff_batch)
        rows = [_rows(done) for done in (fits, backed)]
    difference = float(np.abs(rows[0] - rows[1]).max() / np.abs(rows[0]).max())
    lowered = 0 < backed.batch_size < min(sizes.backoff_batch, sizes.backoff_images)
    yield Line(
        f"{SPEC}: back-off from {sizes.backoff_batch}",
        {"batch at the end": backed.batch_size, "rows": len(rows[1]), "largest difference": difference},
        wanted="a lower batch, every row, difference <= 1e-2",
        met=lowered and len(rows[1]) == len(rows[0]) and difference <= 1e-2,
    )


def _run(root: Path, out: Path, sizes: Sizes, *, batch_size: int) -> Extraction:
    options = {"device": sizes.device, "precision": "fp32", "batch_size": batch_size, "quiet": True}
    return extract(root, backbones=SPEC, out=out, weights=["all=random"], **options)  # type: ignore[arg-type]


def _rows(done: Extraction) -> np.ndarray:
    store = done.outcome.store
    assert store is not None
    order = np.argsort(store.column("key"))
    rows: np.ndarray = store.read(None, SPEC, "feature")[order]
    return rows


def _little_memory(sizes: Sizes) -> AbstractContextManager[None]:
    return _refusing_large_batches(4) if sizes.dry else _ballast(torch.device(sizes.device))


@contextmanager
def _ballast(device: torch.device) -> Iterator[None]:
    """Take the card's memory but for a little, so that CUDA itself refuses."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    taken = torch.empty(max(0, free - FREE_BYTES), dtype=torch.uint8, device=device)
    try:
        yield
    finally:
        del taken
        torch.cuda.empty_cache()


@contextmanager
def _refusing_large_batches(most: int) -> Iterator[None]:
    """Raise CUDA's error for batches of more than ``most`` images: the dry run's stand-in for a full card."""
    embed = Backbone.embed

    def refusing(self: Backbone, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        if len(batch) > most:
            raise torch.OutOfMemoryError("dry run")
        return embed(self, batch)

    with patch.object(Backbone, "embed", refusing):
        yield
