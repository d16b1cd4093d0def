"""FiSeR's feature archives (`.pt`) as stores, read without running any code they may hold."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.errors import InputError, OptionError, OutputError, unknown_name
from fewshot.core.files import file_sha256
from fewshot.core.names import line_fault
from fewshot.core.outputs import STORE, Output, require_outputs
from fewshot.embeddings.store.archive_content import ArchiveContent, content_of
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from fewshot.embeddings.weights.torch_file import TorchFileError

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
        InputError: no such file, damaged, not of this form, or with anything but plain tensors and values in it.
        OptionError: a name that a store cannot carry.
        UnknownNameError: no such layer.
        OutputError: the store cannot be written, or would replace the archive.
    """
    path = Path(archive)
    _require_replaceable(Path(out), path)
    content = content_of(path, _read(path))
    names = _names(path, content, backbone=backbone, dataset=dataset)
    chosen = _chosen(path, content, layer)
    return write_store(out, _samples(content, dataset=names[1]), _layers(path, content, names[0], default=chosen))


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


def _names(path: Path, content: ArchiveContent, *, backbone: str | None, dataset: str | None) -> tuple[str, str]:
    """Return the names of the backbone and of the data set."""
    stem = os.fsencode(path.stem).decode("utf-8", "backslashreplace")
    chosen = (
        ("--backbone", backbone if backbone is not None else content.model or stem),
        ("--dataset", dataset if dataset is not None else stem),
    )
    for option, name in chosen:
        if fault := line_fault(name):
            raise OptionError(f"{path}: {name[:80]!r} cannot be a name in a store: {fault}; give {option} another one")
    return chosen[0][1], chosen[1][1]


def _chosen(path: Path, content: ArchiveContent, layer: str | None) -> str:
    chosen = list(content.layers)[-1] if layer is None else layer
    if chosen not in content.layers:
        raise unknown_name(f"layer in {path}", chosen, content.layers)
    return chosen


def _layers(path: Path, content: ArchiveContent, backbone: str, *, default: str) -> Iterator[LayerData]:
    """Yield one layer at a time, so that one alone lies in memory as float32."""
    provenance = {
        "archive": os.fsencode(path.name).decode("utf-8", "backslashreplace"),
        "archive_sha256": file_sha256(path),
        "metadata": dict(content.metadata),
    }
    for name, values in content.layers.items():
        yield LayerData(
            backbone,
            name,
            _array(path, name, values, content),
            normalised=content.normalised,
            default=name == default,
            provenance=provenance,
        )


def _samples(content: ArchiveContent, *, dataset: str) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        {
            "key": [f"{dataset}/{value}" for value in content.ids],
            "id": [value if len(value) >= 32 else "" for value in content.ids],  # a hash of pixels, not a number
            "source": [content.classes[number] for number in content.sources],
            "synthetic": content.synthetic,
            "dataset": dataset,
            SOURCE_ID: content.sources,
        }
    )


def _array(path: Path, name: str, values: "torch.Tensor", content: ArchiveContent) -> NDArray[np.float32]:
    """Return a layer as float32, into which bfloat16 and float16 fit exactly and float64 is rounded."""
    import torch

    from fewshot.embeddings.weights.plain_tensors import finite

    converted = values.to(torch.float32).contiguous()
    if not finite(converted):
        bad = ~torch.isfinite(converted).all(dim=1)
        raise InputError(
            f"{path}: layer {name} has NaN or infinite values as float32 in {int(bad.sum())} of {len(bad)} rows, the "
            f"first that of id {content.ids[int(bad.nonzero()[0])]}; leave these images out, or embed again"
        )
    array: NDArray[np.float32] = converted.numpy()
    return array


def _read(path: Path) -> Any:
    from fewshot.embeddings.weights.torch_file import TorchFileError, load_plain

    try:
        return load_plain(path)
    except TorchFileError as error:
        raise InputError(_sentence(path, error)) from error


def _sentence(path: Path, error: "TorchFileError") -> str:
    written = "name a .pt file written by FiSeR's extract_embeddings.py"
    if error.reason == "unreadable":
        return f"the archive {path} cannot be read ({error.detail}); {written}"
    if error.reason == "memory":
        return f"the archive {path} is too large to be read: {error.detail}; import it on a larger machine"
    if error.reason == "damaged":
        return f"the archive {path} is damaged and was refused ({error.detail}); copy or embed it again"
    if error.reason == "foreign":
        return f"{path} is not a file of torch.save and was refused unread ({error.detail}); {written}"
    return f"{path} is not an archive of plain tensors and was refused unread ({error.detail}); {written}"
