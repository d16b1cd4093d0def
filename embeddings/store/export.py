"""Write a store's content as files any tool reads: ``samples.parquet``, ``.npy`` matrices and a JSON description."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.core.control_characters import escape_control, json_text
from fewshot.core.errors import OutputError
from fewshot.core.files import atomic_folder, make_folder
from fewshot.core.path_names import distinct_path_names, path_name
from fewshot.embeddings.layer_key import CLEAN, LOGIT, LayerKey
from fewshot.embeddings.store.description import describe
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.schema import feature_name

_SAMPLES, _FAILED, _DESCRIPTION = "samples.parquet", "failed.csv", "store.json"


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, and the files in it."""

    folder: Path
    files: tuple[str, ...]


def export(store: FeatureStore, folder: Path | str, *, backbones: tuple[str, ...] = ()) -> Exported:
    """Write samples, failures and features into a new folder.

    ``samples.parquet`` has one row per image and a column ``present.BACKBONE[@VIEW]`` each;
    ``BACKBONE/LAYER[@VIEW].npy`` is (N, D) in the store's type, absent rows NaN; ``store.json`` says how it was made,
    and under ``files`` which file holds which layer. Names that are unfit for a file are escaped, see ``path_name``.

    Args:
        backbones: only these; all when empty.

    Raises:
        OutputError: the folder exists or cannot be written.
        UnknownNameError: no such backbone.
    """
    target = Path(folder)
    if target.exists() or target.is_symlink():
        raise OutputError(f"{target} exists already; name a new folder, nothing is ever overwritten or deleted")
    make_folder(target.parent)
    with atomic_folder(target) as folder:
        files = _write(store, folder, backbones or store.backbones)
    return Exported(target, tuple(files))


def _write(store: FeatureStore, folder: Path, backbones: tuple[str, ...]) -> list[str]:
    frame = store.samples()
    text = frame.select_dtypes("object").columns
    frame[text] = frame[text].map(lambda value: str(value).encode("utf-8", "backslashreplace").decode("utf-8"))
    frame.columns = [escape_control(name) for name in frame.columns]
    folders = distinct_path_names(backbones, taken=(_SAMPLES, _FAILED, _DESCRIPTION))
    named = {}
    for backbone, inside in folders.items():
        (folder / inside).mkdir()
        for view in store.views(backbone):
            present = escape_control(f"present.{feature_name(backbone, view)}")
            frame[present] = store.present(backbone, view=view)
        for key, file in _matrix_files(store, backbone).items():
            np.save(folder / inside / file, store.read_padded(backbone, key.layer, view=key.view))
            named[f"{inside}/{file}"] = {"backbone": backbone, "layer": key.layer, "view": key.view}
    frame.to_parquet(folder / _SAMPLES, index=False)
    store.failed().to_csv(folder / _FAILED, index=False, errors="surrogateescape")
    (folder / _DESCRIPTION).write_text(json_text({**describe(store), "files": named}, indent=1))
    return [*named, _SAMPLES, _FAILED, _DESCRIPTION]


def _matrix_files(store: FeatureStore, backbone: str) -> dict[LayerKey, str]:
    """Return the name of each layer's file within the folder of its backbone."""
    names = {key: _matrix_name(key) for key in _keys(store, backbone)}
    distinct = distinct_path_names(names.values(), keep=_VIEW_MARKS)
    return {key: f"{distinct[name]}.npy" for key, name in names.items()}


_VIEW_MARKS = "%@:"  # what ``_matrix_name`` has escaped already, and the marks that it put between layer and view


def _matrix_name(key: LayerKey) -> str:
    layer = path_name(key.layer)
    return layer if key.view == CLEAN else f"{layer}@{path_name(key.view, keep=':')}"


def _keys(store: FeatureStore, backbone: str) -> Iterator[LayerKey]:
    for view in store.views(backbone):
        with_logit = [LOGIT] if store.has_logit(backbone, view=view) else []
        for layer in [*store.layer_names(backbone, view=view), *with_logit]:
            yield LayerKey(backbone, layer, view)
