"""Training on 720,000 x 768 in float16 needs memory for windows, not for the set (mechanism test, made-up features)."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.sample_columns import FrameColumns
from fewshot.embeddings.store.writer import LayerHeader, StoreWriter
from fewshot.reconstruction.stream import WINDOW_BYTES
from fewshot.reconstruction.training import TrainingRows, train
from fewshot.reconstruction.training_settings import TrainingSettings

ROWS, D = 720_000, 768


def write(path: Path) -> None:
    block = np.random.default_rng(0).normal(size=(8000, D)).astype(np.float16)
    synthetic = np.arange(ROWS) % 2 == 1
    keys = np.arange(ROWS).astype(str)
    samples = pd.DataFrame({"key": keys, "source": np.where(synthetic, "b", "a"), "synthetic": synthetic})
    with StoreWriter(path, FrameColumns(samples)) as writer:
        header = LayerHeader(LayerKey("clip", "projected"), D, np.float16, default=True)
        writer.add_blocks(header, (block for _ in range(ROWS // len(block))))
        writer.seal()


def peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def train_briefly(path: Path) -> None:
    """Run in a process of its own: print how much the peak grew while training."""
    store = FeatureStore(path)
    synthetic = store.synthetic
    settings = TrainingSettings(widths=(32,), latent=8, steps=600)
    entry = TrainingRows(
        lambda rows: store.read(rows, "clip", "projected"), np.flatnonzero(~synthetic), np.flatnonzero(synthetic), 0
    )
    before = peak_bytes()
    (trained,) = train([entry], settings, fit_on_synthetic=False)
    grown, steps = peak_bytes() - before, trained.steps
    sys.stdout.write(json.dumps({"grown": grown, "steps": steps}))


@pytest.mark.slow
def test_training_on_720_000_images_grows_by_a_few_windows_only(tmp_path: Path) -> None:
    write(tmp_path / "large.h5")
    run = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "large.h5")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    windows = 2 * 2 * WINDOW_BYTES  # two classes, two windows each
    assert found["steps"] == 600
    assert found["grown"] < windows + (150 << 20)
    assert found["grown"] < ROWS * D * 2 / 2  # less than half the set, even as it lies on disk


if __name__ == "__main__":
    train_briefly(Path(sys.argv[1]))
