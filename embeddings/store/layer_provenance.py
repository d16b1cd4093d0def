"""How a layer's features were produced: which fields must agree for two sets of features to be compared."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Fields that must be equal for two sets of features to stand in one layer, with what a message calls them.
IDENTITY = {
    "weights": "the weight files",
    "input": "the preprocessing",
    "decoder": "the decoder",
    "reencode": "the re-encoding of all images",
    "precision": "the precision",
    "dtype": "the type features are stored in",
}


def fingerprint(provenance: Mapping[str, Any]) -> str:
    """Return the hash of the fields named in ``IDENTITY``: 32 hex digits."""
    identity = {name: provenance.get(name) for name in IDENTITY}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return, in words, which identity fields differ and how."""
    return [
        f"{what} (then {json.dumps(before.get(name))}, now {json.dumps(now.get(name))})"
        for name, what in IDENTITY.items()
        if before.get(name) != now.get(name)
    ]


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return, in words, which identity fields differ where both say how they were produced."""
    return [
        f"{what} ({one[name]} there, {other[name]} here)"
        for name, what in IDENTITY.items()
        if None not in (one.get(name), other.get(name)) and one[name] != other[name]
    ]
