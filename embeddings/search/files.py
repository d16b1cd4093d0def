"""An index on disk: FAISS's file, and beside it a JSON file that says of which layer it is."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fewshot.core.errors import StoreError
from fewshot.core.files import file_sha256, write_text
from fewshot.core.outputs import INDEX_DESCRIPTION
from fewshot.embeddings.search.indexed_layer import IndexedLayer
from fewshot.embeddings.search.kinds import Choice

SCHEMA = 1


def description_path(path: Path) -> Path:
    """Return where the description of an index file lies: ``photos.faiss`` has ``photos.faiss.json``."""
    return path.with_name(path.name + ".json")


def write_description(path: Path, layer: IndexedLayer, choice: Choice) -> None:
    """Write what ``read_description`` will look for; the index file must be there.

    Raises:
        OutputError: it cannot be written.
    """
    description = {
        "schema": SCHEMA,
        "backbone": layer.info.backbone,
        "layer": layer.info.layer,
        "view": layer.info.view,
        "metric": layer.metric,
        "where": {
            name: value if isinstance(value, str) else list(value) for name, value in (layer.where or {}).items()
        },
        "rows": len(layer),
        "layer_digest": layer.info.digest,
        "index_sha256": file_sha256(path),
        "choice": asdict(choice),
    }
    write_text(
        description_path(path), json.dumps(description, indent=1) + "\n", option="--index-file", kind=INDEX_DESCRIPTION
    )


def read_description(path: Path) -> dict[str, Any]:
    """Return the description of an index file whose bytes are still those that were written.

    Raises:
        StoreError: a file is missing, damaged, or of a newer fewshot.
    """
    try:
        description: dict[str, Any] = json.loads(description_path(path).read_text(encoding="utf-8"))
        found = file_sha256(path)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the index {path} and its description {description_path(path)} cannot be read ({error}); build it again"
        ) from error
    if description.get("schema", 0) > SCHEMA:
        raise StoreError(
            f"{path} has index schema {description['schema']}, and this fewshot reads up to "
            f"{SCHEMA}; install a newer one"
        )
    wanted = str(description.get("index_sha256"))
    if found != wanted:
        raise StoreError(
            f"the index {path} is damaged: its SHA-256 is {found[:16]}..., not {wanted[:16]}...; build it again"
        )
    return description


def require_same_layer(path: Path, description: Mapping[str, Any], layer: IndexedLayer) -> None:
    """Raise unless the index is of exactly this layer of the store.

    Raises:
        StoreError: the layer has changed, or other rows are present.
    """
    if description["layer_digest"] != layer.info.digest or description["rows"] != len(layer):
        raise StoreError(
            f"the index {path} was built from a layer with digest {description['layer_digest'][:16]}... and "
            f"{description['rows']} rows; {layer} now has {layer.info.digest[:16]}... and "
            f"{len(layer)}: delete the index and build it again"
        )
