"""The names, types and version of the HDF5 feature store; read together with docs/decisions/0002-store.md.

/samples/<column>                       one dataset per column, N rows
/samples/extra/<column>                 whatever other columns the table had, as text
/present/<backbone>[@view]              (N,) bool: which rows this backbone has for this view
/features/<backbone>/<layer>[@view]     (N, D) float32 or float16; absent rows are NaN
/failed/{key,backbone,view,reason}      one row per failure
attributes of /                         format, version, sealed, digest, samples_digest, roots, provenance
                                        since version 2: contents, manifest

``structure.py`` holds a file to this when it is opened.
"""

from dataclasses import dataclass
from typing import Any, Literal

from fewshot.embeddings.layer_key import CLEAN, LayerKey

FORMAT = "fewshot-store"
VERSION = 2
SEALED_BY_MANIFEST = 2  # from this version on a store carries ``contents`` and ``manifest``; see ``manifest.py``
CHUNK_BYTES = 1 << 20
CHECKSUM_BYTES = 4  # of Fletcher-32, behind every chunk

ColumnKind = Literal["text", "bool", "uint64", "int64"]


@dataclass(frozen=True)
class Column:
    """One column of /samples: its type on disk, the value when unknown, and whether the digest covers it."""

    kind: ColumnKind
    missing: Any
    digested: bool = True


# Where it lies (key, path, member, root), what it is (id, phash, source ... group), and its file metadata.
COLUMNS: dict[str, Column] = {
    "key": Column("text", ""),
    "path": Column("text", ""),
    "member": Column("text", ""),
    "root": Column("int64", 0, digested=False),
    "id": Column("text", ""),
    "phash": Column("uint64", 0),
    "source": Column("text", ""),
    "synthetic": Column("bool", False),
    "split": Column("text", ""),
    "dataset": Column("text", ""),
    "category": Column("text", ""),
    "group": Column("text", ""),
    "format": Column("text", ""),
    "jpeg_quality": Column("int64", -1),
    "quantisation": Column("text", ""),
    "mode": Column("text", ""),
    "metadata": Column("text", ""),
    "width": Column("int64", 0),
    "height": Column("int64", 0),
    "file_size": Column("int64", 0),
    "file_sha256": Column("text", ""),
    "mtime_ns": Column("int64", 0, digested=False),
}
REQUIRED = ("key", "source", "synthetic")
FAILED = ("key", "backbone", "view", "reason")
FEATURE_KINDS = ("float32", "float16")

AttributeKind = type[str] | type[bool] | type[int]

# The attributes that a file has, and no others.
ROOT_ATTRIBUTES: dict[str, AttributeKind] = {
    "format": str,
    "version": int,
    "sealed": bool,
    "digest": str,
    "samples_digest": str,
    "roots": str,
    "provenance": str,
}
MANIFEST_ATTRIBUTES: dict[str, AttributeKind] = {"contents": str, "manifest": str}
LAYER_ATTRIBUTES: dict[str, AttributeKind] = {"normalised": bool, "default": bool, "facts": str, "digest": str}


def column_path(name: str) -> str:
    """Return the path of a sample column's dataset; what is not built in lies among the extra ones."""
    return f"/samples/{name}" if name in COLUMNS else f"/samples/extra/{escape(name)}"


def feature_name(layer: str, view: str) -> str:
    """Return the dataset name of a layer under a view.

    >>> feature_name("pooled", "clean"), feature_name("pooled", "jpeg:75")
    ('pooled', 'pooled@jpeg:75')
    """
    return escape(layer) if view == CLEAN else f"{escape(layer)}@{escape(view)}"


def features_path(key: LayerKey) -> str:
    """Return the path of a layer's dataset.

    >>> features_path(LayerKey("npr", "feature", "jpeg:75"))
    '/features/npr/feature@jpeg:75'
    """
    return f"/features/{escape(key.backbone)}/{feature_name(key.layer, key.view)}"


def present_path(key: LayerKey) -> str:
    """Return the path of the mask that says which rows a layer has; all layers of one pass share it."""
    return f"/present/{feature_name(key.backbone, key.view)}"


def split_name(name: str) -> tuple[str, str]:
    """Return (layer or backbone, view) of a dataset name; the inverse of ``feature_name``."""
    first, _, view = name.partition("@")
    return unescape(first), unescape(view) or CLEAN


def escape(name: str) -> str:
    """Return ``name`` fit for one HDF5 link: a slash or an at sign in a model's name must not split it."""
    return name.replace("%", "%25").replace("/", "%2F").replace("@", "%40")


def unescape(name: str) -> str:
    """Undo ``escape``."""
    return name.replace("%40", "@").replace("%2F", "/").replace("%25", "%")


def chunk_rows(columns: int, itemsize: int, rows: int) -> int:
    """Return how many rows make a chunk of about 1 MiB, at least one and at most ``rows``."""
    return max(1, min(max(rows, 1), CHUNK_BYTES // max(1, columns * itemsize)))
