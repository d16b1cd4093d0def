"""Write a store's content as files any tool reads: ``samples.parquet``, ``.npy`` matrices and a JSON description."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.core.errors import OutputError
from fewshot.core.files import atomic_folder, make_folder
from fewshot.embeddings.layer_key import LOGIT, LayerKey
from fewshot.embeddings.store.description import describe
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.schema import feature_name, features_path


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, and the files in it."""

    folder: Path
    files: tuple[str, ...]


def export(store: FeatureStore, folder: Path | str, *, backbones: tuple[str, ...] = ()) -> Exported:
    """Write samples, failures and features into a new folder.

    ``samples.parquet`` has one row per image and a column ``present.BACKBONE[@VIEW]`` each;
    ``BACKBONE/LAYER[@VIEW].npy`` is (N, D) in the store's type, absent rows NaN; ``store.json`` says how it was made.

    Args:
        backbones: only these; all when empty.

    Raises:
        OutputError: the folder exists or cannot be written.
        UnknownNameError: no such backbone.
    """
    target = Path(folder)
    if target.exists():
        raise OutputError(f"{target} exists already; name a new folder, nothing is ever overwritten or deleted")
    make_folder(target.parent)
    with atomic_folder(target) as folder:
        files = _write(store, folder, backbones or store.backbones)
    return Exported(target, tuple(files))


def _write(store: FeatureStore, folder: Path, backbones: tuple[str, ...]) -> list[str]:
    frame = store.samples()
    files = []
    for backbone in backbones:
        for view in store.views(backbone):
            frame[f"present.{feature_name(backbone, view)}"] = store.present(backbone, view=view)
            with_logit = [LOGIT] if store.has_logit(backbone, view=view) else []
            for layer in [*store.layer_names(backbone, view=view), *with_logit]:
                path = features_path(LayerKey(backbone, layer, view))
                name = f"{path.removeprefix('/features/')}.npy"
                (folder / name).parent.mkdir(exist_ok=True)
                np.save(folder / name, store.read_padded(backbone, layer, view=view))
                files.append(name)
    text = frame.select_dtypes("object").columns
    frame[text] = frame[text].map(lambda value: str(value).encode("utf-8", "backslashreplace").decode("utf-8"))
    frame.to_parquet(folder / "samples.parquet", index=False)
    store.failed().to_csv(folder / "failed.csv", index=False, errors="surrogateescape")
    (folder / "store.json").write_text(json.dumps(describe(store), indent=1))
    return [*files, "samples.parquet", "failed.csv", "store.json"]
