"""An index on disk: FAISS's file, and beside it a JSON file that says of which layer it is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from fewshot.core.errors import StoreError
from fewshot.core.files import file_sha256, write_text
from fewshot.core.outputs import INDEX_DESCRIPTION
from fewshot.core.regular_files import read_regular, require_regular
from fewshot.embeddings.search.indexed_layer import IndexedLayer, Metric
from fewshot.embeddings.search.kinds import Choice, Kind

SCHEMA = 2
_MOST_BYTES = 64 << 20
_OWN_HASH = "description_sha256"  # since schema 2: of every other field

_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind
    reason: str
    effort: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
    recall: Annotated[float, msgspec.Meta(ge=0, le=1)]
    sample: _Count


class Description(msgspec.Struct, forbid_unknown_fields=True):
    """What an index says of itself: which rows of which layer it holds, and how it was chosen."""

    schema: Literal[1, 2]
    backbone: str
    layer: str
    view: str
    metric: Metric
    where: dict[str, str | list[str]]
    rows: Annotated[int, msgspec.Meta(ge=1, lt=1 << 40)]
    layer_digest: _Sha256
    index_sha256: _Sha256
    choice: _Choice
    description_sha256: _Sha256 | None = None

    @property
    def chosen(self) -> Choice:
        """The kind of index, and why it can be trusted."""
        return Choice(**msgspec.to_builtins(self.choice))


def description_path(path: Path) -> Path:
    """Return where the description of an index file lies: ``photos.faiss`` has ``photos.faiss.json``."""
    return path.with_name(path.name + ".json")


def write_description(path: Path, layer: IndexedLayer, choice: Choice) -> None:
    """Write what ``read_description`` will look for; the index file must be there.

    Raises:
        OutputError: it cannot be written.
    """
    description: dict[str, Any] = {
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
    description[_OWN_HASH] = _digest(description)
    write_text(
        description_path(path), json.dumps(description, indent=1) + "\n", option="--index-file", kind=INDEX_DESCRIPTION
    )


def read_description(path: Path) -> Description:
    """Return the description of an index file whose bytes are still those that were written.

    Raises:
        StoreError: a file is missing, damaged, or of a newer fewshot.
    """
    try:
        said = json.loads(read_regular(description_path(path), limit=_MOST_BYTES))
        require_regular(path)
        found = file_sha256(path)
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"the index {path} and its description {description_path(path)} cannot be read ({error}); build it again"
        ) from error
    description = _checked(path, said)
    if found != description.index_sha256:
        raise StoreError(
            f"the index {path} is damaged: its SHA-256 is {found[:16]}..., not {description.index_sha256[:16]}...; "
            f"build it again"
        )
    return description


def _checked(path: Path, said: Any) -> Description:
    schema = said.get("schema") if isinstance(said, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise StoreError(
            f"{path} has index schema {schema}, and this fewshot reads up to {SCHEMA}; install a newer one"
        )
    try:
        description = msgspec.convert(said, Description)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise StoreError(f"the description {description_path(path)} is damaged ({error}); build it again") from error
    own = {name: value for name, value in said.items() if name != _OWN_HASH}
    wanted = None if description.schema == 1 else _digest(own)
    if description.description_sha256 != wanted:
        raise StoreError(
            f"the description {description_path(path)} is damaged: it does not have its own SHA-256; build it again"
        )
    return description


def _digest(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def require_same_layer(path: Path, description: Description, layer: IndexedLayer) -> None:
    """Raise unless the index is of exactly this layer of the store.

    Raises:
        StoreError: the layer has changed, or other rows are present.
    """
    if description.layer_digest != layer.info.digest or description.rows != len(layer):
        raise StoreError(
            f"the index {path} was built from a layer with digest {description.layer_digest[:16]}... and "
            f"{description.rows} rows; {layer} now has {layer.info.digest[:16]}... and "
            f"{len(layer)}: delete the index and build it again"
        )
