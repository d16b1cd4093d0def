"""A store of today, which is refused or what it was, and one of the first version, whose manifest refuses nothing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewshot.core.errors import FewshotError
from fewshot.embeddings.store.description import describe
from fewshot.embeddings.store.failures import EVERY, Failure
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.embeddings.verify import require_sound, verify
from tests.hostile.small_store import everything

ROWS = 12
TODAY = "today.h5"
_SOUND: list[Any] = []
FIRST = Path(__file__).parents[2] / "golden" / "before_rooms" / "store.h5"


def originals(folder: Path) -> list[Path]:
    samples = pd.DataFrame(
        {
            "key": [f"{row}.png" for row in range(ROWS)],
            "source": ["camera", "gan"] * (ROWS // 2),
            "synthetic": [False, True] * (ROWS // 2),
            "track": "a",
        }
    )
    features = np.random.default_rng(0).normal(size=(ROWS, 6)).astype(np.float32)
    layers = [
        LayerData("net", "pooled", features, default=True, provenance={"weights": {"net": "0" * 64}}),
        LayerData("net", "pooled", features.astype(np.float16), view="jpeg:75", present=np.arange(ROWS) != 3),
    ]
    write_store(folder / TODAY, samples, layers, failures=[Failure("12.png", EVERY, EVERY, "cut")], roots=["/a"])
    _SOUND[:] = [everything(folder / TODAY)]
    return [folder / TODAY, Path(shutil.copy(FIRST, folder / "first.h5"))]


def enter(path: Path) -> None:
    with FeatureStore(path) as store:
        try:
            require_sound(verify(path))
        finally:
            _read(store)
    if path.name == TODAY:
        assert everything(path) == _SOUND[0]


def _read(store: FeatureStore) -> None:
    """Read everything, whatever ``verify`` said."""
    refused: list[FewshotError] = []
    describe(store)
    for info in store.layers:
        try:
            store.read(
                np.flatnonzero(store.present(info.backbone, view=info.view)), info.backbone, info.layer, view=info.view
            )
            store.read_padded(info.backbone, info.layer, view=info.view)
        except FewshotError as error:
            refused.append(error)
    store.samples()
    if refused:
        raise refused[0]
