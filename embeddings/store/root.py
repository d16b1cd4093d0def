"""What the root of a store says, and whether the attributes of an object are those of the schema."""

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from fewshot.core.errors import StoreError
from fewshot.embeddings.store.hdf5_objects import Attribute, Objects, refused
from fewshot.embeddings.store.read_errors import naming_errors
from fewshot.embeddings.store.schema import (
    FORMAT,
    MANIFEST_ATTRIBUTES,
    ROOT_ATTRIBUTES,
    SEALED_BY_MANIFEST,
    VERSION,
    AttributeKind,
)

_HEX = re.compile(r"[0-9a-f]{64}")


def require_known(file: Any, path: Path) -> None:
    """Raise unless an open HDF5 file says that it is a sealed store of a known version; nothing else is read.

    Raises:
        StoreError: it is none; the message says what it is instead.
    """
    with naming_errors(path, "its structure"), closing(Objects(file, path)) as objects:
        _require_known(objects)


def _require_known(objects: Objects) -> None:
    path = objects.path
    if objects.value("/", "format") != FORMAT:
        raise StoreError(f"{path} is an HDF5 file but not a fewshot store; name one made by `fewshot embed`")
    if objects.value("/", "sealed") is not True:
        raise StoreError(f"{path} is not sealed; run the same `fewshot embed ... -o {path}` again")
    version = objects.value("/", "version")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= VERSION:
        raise StoreError(
            f"{path} has store version {version}, and this fewshot reads 1 to {VERSION}; install the "
            f"fewshot that made it, or embed again"
        )


def root_attributes(objects: Objects) -> dict[str, Attribute]:
    """Return the attributes of the root, which are those of a known version.

    Raises:
        StoreError: the file is no sealed store of a known version, or an attribute is missing or of another type.
    """
    _require_known(objects)
    path, attributes = objects.path, objects.attributes("/")
    wanted = dict(ROOT_ATTRIBUTES)
    if whole_number(attributes["version"]) >= SEALED_BY_MANIFEST:
        wanted |= MANIFEST_ATTRIBUTES
    require_attributes(path, "/", attributes, wanted)
    for name in sorted(set(wanted) & {"digest", "samples_digest", "manifest"}):
        require_hex(path, f"the attribute {name!r}", attributes[name])
    return attributes


def require_attributes(
    path: Path, where: str, found: Mapping[str, Attribute], wanted: Mapping[str, AttributeKind]
) -> None:
    """Raise unless an object has the wanted attributes and no others.

    Args:
        path: the file; where: the object's path in it.

    Raises:
        StoreError: the message names the attribute.
    """
    for name in {**wanted, **found}:
        if name not in found:
            problem = f"{where} has no attribute {name!r}"
        elif name not in wanted:
            problem = f"{where} has an attribute {name!r}"
        elif type(found[name]) is not wanted[name]:
            problem = f"the attribute {name!r} of {where} is of another type than {wanted[name].__name__}"
        else:
            continue
        raise refused(path, problem)


def require_hex(path: Path, what: str, value: Attribute) -> None:
    """Raise unless an attribute is a SHA-256 in hex digits.

    Raises:
        StoreError: it is another text.
    """
    if not _HEX.fullmatch(str(value)):
        raise StoreError(f"{path} is damaged: {what} is not 64 hex digits; restore it from a copy, or embed again")


def whole_number(value: Attribute) -> int:
    """Return an attribute that is known to be a whole number."""
    assert isinstance(value, int)
    return value
