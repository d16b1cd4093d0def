"""An index on disk: FAISS's file, and beside it a JSON file that says of which layer it is."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fewshot.core.errors import StoreError
from fewshot.core.files import file_sha256, write_text
from fewshot.embeddings.search.indexed_layer import IndexedLayer
from fewshot.embeddings.search.kinds import Choice

SCHEMA = 1


def facts_path(path: Path) -> Path:
    """Return where the facts of an index file lie: ``photos.faiss`` has ``photos.faiss.json``."""
    return path.with_name(path.name + ".json")


def write_facts(path: Path, layer: IndexedLayer, choice: Choice) -> None:
    """Write what ``read_facts`` will ask for; the index file must be there.

    Raises:
        OutputError: it cannot be written.
    """
    facts = {
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
    write_text(facts_path(path), json.dumps(facts, indent=1) + "\n", option="--index-file")


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts of an index file whose bytes are still those that were written.

    Raises:
        StoreError: a file is missing, damaged, or of a newer fewshot.
    """
    try:
        facts: dict[str, Any] = json.loads(facts_path(path).read_text(encoding="utf-8"))
        found = file_sha256(path)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the index {path} and its facts {facts_path(path)} cannot be read ({error}); build it again"
        ) from error
    if facts.get("schema", 0) > SCHEMA:
        raise StoreError(
            f"{path} has index schema {facts['schema']}, and this fewshot reads up to {SCHEMA}; install a newer one"
        )
    wanted = str(facts.get("index_sha256"))
    if found != wanted:
        raise StoreError(
            f"the index {path} is damaged: its SHA-256 is {found[:16]}..., not {wanted[:16]}...; build it again"
        )
    return facts


def require_same_layer(path: Path, facts: Mapping[str, Any], layer: IndexedLayer) -> None:
    """Raise unless the index is of exactly this layer of the store.

    Raises:
        StoreError: the layer has changed, or other rows are present.
    """
    if facts["layer_digest"] != layer.info.digest or facts["rows"] != len(layer):
        raise StoreError(
            f"the index {path} was built from a layer with digest {facts['layer_digest'][:16]}... and {facts['rows']} "
            f"rows; {layer} now has {layer.info.digest[:16]}... and {len(layer)}: delete the index and build it again"
        )
