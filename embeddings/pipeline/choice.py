"""Which backbones a run takes: named by the user, their files found and hashed; nothing is loaded yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot.core.errors import FewshotError, OptionError
from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import Weights
from fewshot.embeddings.inputs.views import View
from fewshot.embeddings.pipeline.plan import PlannedBackbone
from fewshot.embeddings.pipeline.settings import PixelSettings
from fewshot.embeddings.pipeline.units import Task
from fewshot.embeddings.store.layer_provenance import fingerprint
from fewshot.embeddings.weights.locate import digests_of, require_known, resolve
from fewshot.embeddings.weights.requests import folders


@dataclass(frozen=True)
class ChosenBackbone:
    """One backbone of a run: unloaded, which knows card and dimensions, and what an engine will load."""

    backbone: Backbone
    planned: PlannedBackbone


def choose_backbones(
    backbones: str | Sequence[str],
    *,
    weights: Mapping[str, Path | str] | Sequence[str],
    layers: Mapping[str, Sequence[str]],
) -> tuple[ChosenBackbone, ...]:
    """Find the networks and their files, in the order they were named.

    Args:
        backbones: names, weight files of the user's, or ``all``: every detector whose weights are on this machine.
        weights: {NAME: PATH} or a list of ``NAME=PATH``, ``NAME=random``, ``FOLDER``.
        layers: backbone -> the layers wanted; all of the card's when it is not named.

    Raises:
        OptionError: no backbone, or layers of one that is not named.
        UnknownNameError: no such backbone or layer.
        WeightsError: a weight file is missing or not the published one.
    """
    requests = _requests(weights)
    names = _names(backbones, folders(requests))
    if not names:
        raise OptionError("no backbone was named; give --backbone NAME, see `fewshot list backbones`")
    made = [create(name, layers=_layers_of(name, layers)) for name in dict.fromkeys(names)]
    unknown = [name for name in layers if name not in names and name not in {each.card.name for each in made}]
    if unknown:
        raise OptionError(f"--layer {unknown[0]}=...: this backbone is not among {', '.join(names)}")
    require_known(requests, [backbone.card for backbone in made])
    return tuple(ChosenBackbone(each, planned_of(each, resolve(each.card, requests))) for each in made)


def planned_of(backbone: Backbone, weights: Weights) -> PlannedBackbone:
    """Return what a run will load of an unloaded backbone whose files were found."""
    digests = digests_of(backbone.card, weights)
    return PlannedBackbone(backbone.to_reference(digests), weights)


def task_of(chosen: ChosenBackbone, view: View, *, pixels: PixelSettings, precision: str, dtype: str) -> Task:
    """Return the task of one backbone under one view, with how its features will be produced."""
    card, reference = chosen.backbone.card, chosen.planned.reference
    provenance = {
        "weights": dict(reference.weights),
        "input": str(card.input),
        "decoder": pixels.decoder,
        "reencode": "+".join(map(str, pixels.reencode)),
        "precision": precision,
        "dtype": dtype,
        "reference": reference.to_json(),
        "card": {
            "paper": card.paper,
            "reference": card.reference,
            "licence": card.licence,
            "equality": card.equality,
            "note": card.note,
        },
    }
    dimensions = {layer: chosen.backbone.dimension(layer) or 0 for layer in reference.layers}
    return Task(card.name, view, dimensions, card.layer, card.input, provenance, fingerprint(provenance))


def _layers_of(name: str, layers: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    return tuple(layers[name]) if name in layers else None


def _names(backbones: str | Sequence[str], searched: Sequence[Path]) -> list[str]:
    names = [backbones] if isinstance(backbones, str) else list(backbones)
    if "all" not in names:
        return names
    return [name for name in BACKBONES.names() if _ready(name, searched)]


def _ready(name: str, searched: Sequence[Path]) -> bool:
    """Whether a backbone's weights are on this machine; generic adapters, which need a model's name, are not."""
    if BACKBONES.load(name).generic:
        return False
    try:
        resolve(create(name).card, map(str, searched))
    except FewshotError:
        return False
    return True


def _requests(weights: Mapping[str, Path | str] | Sequence[str]) -> list[str]:
    if isinstance(weights, Mapping):
        return [f"{name}={value}" for name, value in weights.items()]
    return list(weights)
