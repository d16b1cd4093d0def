"""FiSeR's feature archives (`.pt`) as stores, read without running any code they may hold."""

import json
import pickle  # noqa: TID251  # only the name of the error that torch raises when it refuses code
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.errors import InputError, OutputError, unknown_name
from fewshot.core.files import file_sha256
from fewshot.core.names import require_name, require_value
from fewshot.core.outputs import STORE, Output, require_outputs
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store

if TYPE_CHECKING:
    import pandas as pd
    import torch

FIELDS = ("embeddings", "ids", "labels", "binary_labels", "classes", "metadata")
SOURCE_ID = "source_id"


def import_archive(
    archive: Path | str,
    out: Path | str,
    *,
    backbone: str | None = None,
    layer: str | None = None,
    dataset: str | None = None,
) -> str:
    """Write the store of an archive in FiSeR's form; return its digest.

    The archive is a torch file of ``embeddings`` {layer: (N, D)}, ``ids``, ``labels`` (source numbers),
    ``binary_labels`` (0 natural, 1 synthetic), ``classes`` (source names) and ``metadata`` (arXiv 2606.00606,
    heyongxin233/FiSeR @ ad2637c, extract_embeddings.py). Source numbers are kept in the column ``source_id``, by which
    FiSeR's draw orders the sources.

    Args:
        archive: the file.
        out: the store to make.
        backbone: its name in the store; the archive's ``model_name`` when None.
        layer: the default layer; the last one when None.
        dataset: the data set's name; the file's stem when None.

    Raises:
        InputError: no such file, not of this form, or with anything but plain tensors and values in it.
        OutputError: the store cannot be written.
    """
    path = Path(archive)
    _require_replaceable(Path(out), path)
    content = _read(path)
    layers = _layers(path, content, backbone=backbone, default=layer)
    return write_store(out, _samples(path, content, dataset=dataset or path.stem), layers)


def _require_replaceable(out: Path, archive: Path) -> None:
    """Refuse to write over the archive, over what is no store, and over a store that was not imported."""
    require_outputs([Output(out, STORE)], inputs=[archive])
    if not out.exists() or not out.stat().st_size:
        return
    with FeatureStore(out) as store:
        imported = all("archive_sha256" in layer.provenance for layer in store.layers)
    if not imported:
        raise OutputError(
            f"{out} is a store that was embedded, not imported, and is not written over; name another file by -o"
        )


def _layers(path: Path, content: Mapping[str, Any], *, backbone: str | None, default: str | None) -> list[LayerData]:
    metadata = dict(content["metadata"])
    name = require_name(backbone or str(metadata.get("model_name") or path.stem), what="backbone", where=str(path))
    for key in content["embeddings"]:
        require_name(str(key), what="layer", where=str(path))
    found = {str(key): _array(values) for key, values in content["embeddings"].items()}
    chosen = default or list(found)[-1]
    if chosen not in found:
        raise unknown_name(f"layer in {path}", chosen, found)
    provenance = {
        "archive": path.name,
        "archive_sha256": file_sha256(path),
        "metadata": json.loads(json.dumps(metadata, default=str)),
    }
    normalised = bool(metadata.get("normalized", False))
    return [
        LayerData(name, key, values, normalised=normalised, default=key == chosen, provenance=provenance)
        for key, values in found.items()
    ]


def _samples(path: Path, content: Mapping[str, Any], *, dataset: str) -> "pd.DataFrame":
    import pandas as pd

    sources, synthetic = _labels(path, content)
    for text in (dataset, *map(str, content["classes"]), *map(str, _plain(content["ids"]))):
        require_value(text, what="name", where=str(path))
    ids = [str(value) for value in _plain(content["ids"])]
    return pd.DataFrame(
        {
            "key": [f"{dataset}/{value}" for value in ids],
            "id": [value if len(value) >= 32 else "" for value in ids],  # a hash of pixels, and not a running number
            "source": [str(content["classes"][number]) for number in sources],
            "synthetic": synthetic,
            "dataset": dataset,
            SOURCE_ID: sources,
        }
    )


def _read(path: Path) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"the archive {path} cannot be read ({error}); name a .pt file") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"{path} is not an archive of plain tensors and was refused unread ({str(error).splitlines()[0]}); name a "
            f".pt file written by FiSeR's extract_embeddings.py"
        ) from error
    missing = [name for name in FIELDS if not isinstance(content, Mapping) or name not in content]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)}; an archive in FiSeR's form holds {', '.join(FIELDS)}")
    if not content["embeddings"]:
        raise InputError(f"{path} holds no layer; embed again with extract_embeddings.py --layers")
    return dict(content)


def _labels(path: Path, content: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    sources = np.asarray(_plain(content["labels"]), dtype=np.int64)
    classes = np.asarray(_plain(content["binary_labels"]), dtype=np.int64)
    count = len(_plain(content["ids"]))
    for what, rows in (("labels", len(sources)), ("binary_labels", len(classes)), *_layer_rows(content)):
        if rows != count:
            raise InputError(f"{path} has {rows} {what} for {count} ids; the archive is damaged, embed again")
    if not np.isin(classes, (0, 1)).all():
        found = sorted(set(classes.tolist()))
        raise InputError(f"{path}: binary_labels must be 0 (natural) or 1 (synthetic), and are {found[:5]}")
    if len(sources) and not 0 <= int(sources.min()) <= int(sources.max()) < len(content["classes"]):
        raise InputError(f"{path}: source {int(sources.max())} has no name among the {len(content['classes'])} classes")
    return sources, classes.astype(bool)


def _layer_rows(content: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(f"rows of layer {name}", len(values)) for name, values in content["embeddings"].items()]


def _array(values: "torch.Tensor") -> NDArray[np.float32]:
    import torch

    array: NDArray[np.float32] = values.to(torch.float32).numpy()  # bfloat16 fits into float32 exactly
    return array


def _plain(values: Any) -> Any:
    import torch

    return values.tolist() if isinstance(values, torch.Tensor) else list(values)
