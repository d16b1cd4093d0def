"""What there is of every family, in rows for ``fewshot list``."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewshot.core.registry import Registry
from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.weights.locate import find, pinned

Row = Mapping[str, Any]

PRESENT, PARTLY, ABSENT, NONE_NEEDED = "yes", "no head", "no", "none needed"


def backbones(names: tuple[str, ...] = (), *, cache: Path | None = None) -> list[Row]:
    """Return the card of every backbone and variant; a generic adapter is one row unless a model is named.

    Args:
        names: only these, as users type them; all when empty.
        cache: the folder of weight files; the user's when None.

    Raises:
        UnknownNameError: no such backbone.
    """
    found: list[Row] = []
    for name in names or BACKBONES.names():
        base, _, variant = name.partition(":")
        member: type[Backbone] = BACKBONES.load(base)
        if member.generic and not variant:
            found.append(_generic_row(member))
            continue
        for chosen in (variant,) if variant else (member.variants or (None,)):
            found.append(_row(member(chosen).card, cache=cache))
    return found


def present(card: BackboneCard, *, cache: Path | None = None) -> str:
    """Return whether the weights of a backbone lie on this machine; their bytes are not checked here."""
    absent = [file for file in card.weights if find(file, backbone=card.name, cache=cache) is None]
    if not card.weights:
        return NONE_NEEDED
    if not absent:
        return PRESENT
    return PARTLY if all(file.optional for file in absent) else ABSENT


def weight_files(names: tuple[str, ...] = (), *, cache: Path | None = None) -> list[Row]:
    """Return every weight file of the named backbones, all when none is named; variants share files, listed once.

    Raises:
        UnknownNameError: no such backbone.
    """
    found: dict[tuple[str, str, str], Row] = {}
    for name in names or BACKBONES.names():
        base, _, variant = name.partition(":")
        member: type[Backbone] = BACKBONES.load(base)
        if member.generic and not variant:
            continue
        for chosen in (variant,) if variant else (member.variants or (None,)):
            card = member(chosen).card
            for file in card.weights:
                found.setdefault((base, file.part, file.file), _file_row(card, file, cache=cache))
    return list(found.values())


def _file_row(card: BackboneCard, file: WeightFile, *, cache: Path | None) -> Row:
    path = find(file, backbone=card.name, cache=cache)
    return {
        "backbone": card.name,
        "part": file.part,
        "file": file.file,
        "path": None if path is None else str(path),
        "optional": file.optional,
        "licence": file.licence,
        "non_commercial": file.non_commercial,
        "size": file.size,
        "sha256": file.sha256 or pinned(file, backbone=card.name, cache=cache),
        "source": file.source,
        "mirrors": list(file.mirrors),
    }


def members(registry: Registry) -> list[Row]:
    """Return name and first sentence of every member of a family."""
    return [{"name": name, "what": _summary(registry.load(name))} for name in registry.names()]


def _row(card: BackboneCard, *, cache: Path | None) -> Row:
    return {
        "name": card.name,
        "layers": dict(card.layers),
        "layer": card.layer,
        "logit": card.has_logit,
        "input": str(card.input),
        "equality": card.equality,
        "parameters": card.parameters,
        "gflops": card.gflops,
        "weights": present(card, cache=cache),
        "files": [{"part": file.part, "file": file.file, "source": file.source} for file in card.weights],
        "licence": card.licence,
        "paper": card.paper,
        "reference": card.reference,
        "note": card.note,
    }


def _generic_row(member: type[Backbone]) -> Row:
    return {
        "name": f"{member.name}:NAME",
        "layers": {},
        "layer": "pooled",
        "logit": False,
        "input": "the model's own",
        "equality": "code-equivalent",
        "parameters": None,
        "gflops": None,
        "weights": "see a model",
        "files": [],
        "licence": "the model's own",
        "paper": "the model's own",
        "reference": member.name,
        "note": f"{_summary(member)} `fewshot list backbones {member.name}:NAME` shows one model",
    }


def _summary(member: Any) -> str:
    return (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ")
