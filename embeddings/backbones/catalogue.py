"""What backbones and weight files there are, in rows for ``fewshot list`` and ``fewshot weights``; loads no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot.embeddings.backbones.cards import BACKBONES, ListedCard, Member, card, member
from fewshot.embeddings.backbones.purposes import PURPOSES, RECOMMENDED
from fewshot.embeddings.card import WeightFile
from fewshot.embeddings.weights.locate import find, pinned

Row = Mapping[str, Any]

PRESENT, PARTLY, ABSENT, NONE_NEEDED = "yes", "no head", "no", "none needed"
USABLE = (PRESENT, PARTLY, NONE_NEEDED)
CHEAP_GFLOPS, MEDIUM_GFLOPS = 10, 100  # of one image: a small network, a ViT-B, a ViT-L


@dataclass(frozen=True)
class NeededFile:
    """One weight file, and which backbone needs it."""

    backbone: str
    file: WeightFile


def backbones(names: tuple[str, ...] = (), *, cache: Path | None = None, searched: Sequence[Path] = ()) -> list[Row]:
    """Return the card of every backbone and variant; a generic adapter is one row unless a model is named.

    Args:
        names: only these, as users type them; all when empty.
        cache: the folder of weight files; the user's when None.
        searched: folders where weight files are looked for first.

    Raises:
        UnknownNameError: no such backbone.
    """
    return [
        _generic_row(name, found) if isinstance(found, Member) else _row(name, found, cache=cache, searched=searched)
        for name, found in _chosen(names)
    ]


def weight_files(names: tuple[str, ...] = ()) -> list[NeededFile]:
    """Return every weight file of the named backbones, all when none is named; variants share files, listed once.

    Raises:
        UnknownNameError: no such backbone.
    """
    found: dict[tuple[str, str, str], NeededFile] = {}
    for name, chosen in _chosen(names):
        if isinstance(chosen, Member):
            continue
        for file in chosen.weights:
            found.setdefault((name, file.part, file.file), NeededFile(chosen.name, file))
    return list(found.values())


def file_row(needed: NeededFile, *, cache: Path | None = None) -> Row:
    """Return what is known of a weight file, and where it lies; None when it is not on this machine."""
    file = needed.file
    path = find(file, backbone=needed.backbone, cache=cache)
    return {
        "backbone": needed.backbone,
        "part": file.part,
        "file": file.file,
        "path": None if path is None else str(path),
        "optional": file.optional,
        "licence": file.licence,
        "non_commercial": file.non_commercial,
        "size": file.size,
        "sha256": file.sha256 or pinned(file, backbone=needed.backbone, cache=cache),
        "source": file.source,
        "mirrors": list(file.mirrors),
    }


def _chosen(names: tuple[str, ...]) -> Iterator[tuple[str, ListedCard | Member]]:
    """Yield (backbone, card) of every variant that is meant; a generic adapter without a model yields itself."""
    for spec in names or BACKBONES.names():
        name, _, variant = spec.partition(":")
        if variant:
            yield name, card(spec)
        elif (listed := member(name)).generic:
            yield name, listed
        else:
            yield from ((name, each) for each in listed.cards.values())


def _absent(card: ListedCard, *, cache: Path | None, searched: Sequence[Path]) -> list[WeightFile]:
    """Return the weight files of a backbone that are not on this machine; bytes are not checked here."""
    return [file for file in card.weights if find(file, backbone=card.name, cache=cache, searched=searched) is None]


def _present(card: ListedCard, absent: Sequence[WeightFile]) -> str:
    if not card.weights:
        return NONE_NEEDED
    if not absent:
        return PRESENT
    return PARTLY if all(file.optional for file in absent) else ABSENT


def _cost(gflops: float | None) -> str:
    if gflops is None:
        return ""
    return "cheap" if gflops < CHEAP_GFLOPS else "medium" if gflops < MEDIUM_GFLOPS else "heavy"


def _row(name: str, card: ListedCard, *, cache: Path | None, searched: Sequence[Path]) -> Row:
    absent = _absent(card, cache=cache, searched=searched)
    return {
        "name": card.name,
        "layers": dict(card.layers),
        "layer": card.layer,
        "logit": card.has_logit,
        "input": card.input,
        "equality": card.equality,
        "parameters": card.parameters,
        "gflops": card.gflops,
        "purpose": card.purpose or BACKBONES.summary(name),
        "year": card.year,
        "cost": _cost(card.gflops),
        "recommended": card.name in RECOMMENDED,
        "weights": _present(card, absent),
        "fetchable": all(file.url or file.repository or file.optional for file in absent),
        "files": [{"part": file.part, "file": file.file, "source": file.source} for file in card.weights],
        "licence": card.licence,
        "paper": card.paper,
        "reference": card.reference,
        "note": card.note,
    }


def _generic_row(name: str, adapter: Member) -> Row:
    return {
        "name": f"{name}:NAME",
        "layers": {},
        "layer": "pooled",
        "logit": False,
        "input": "the model's own",
        "equality": "code-equivalent",
        "parameters": None,
        "gflops": None,
        "purpose": PURPOSES.get(name) or adapter.summary,
        "year": None,
        "cost": "",
        "recommended": name in RECOMMENDED,
        "weights": "see a model",
        "fetchable": True,
        "files": [],
        "licence": "the model's own",
        "paper": "the model's own",
        "reference": name,
        "note": f"{adapter.summary} `fewshot list backbones {name}:NAME` shows one model",
    }
