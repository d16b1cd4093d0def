"""From what a user types, or a store records, to an unloaded backbone: a registered one, or a weight file of ours."""

from collections.abc import Mapping
from pathlib import Path

from fewshot.core.errors import UnknownNameError, WeightsError
from fewshot.embeddings.backbones.base import BACKBONES, Backbone
from fewshot.embeddings.backbones.trained import SUFFIX, Trained
from fewshot.embeddings.card import Weights
from fewshot.embeddings.reference import BackboneReference


def create(spec: str, *, layers: tuple[str, ...] | None = None) -> Backbone:
    """Return the unloaded backbone of ``NAME``, ``NAME:VARIANT``, ``NAME:VARIANT+RULE`` or ``FILE.safetensors``.

    RULE says what becomes of images smaller than the crop: ``tile`` repeats them, ``resize`` enlarges them, ``pad``
    surrounds them with black, which is every detector's default unless its card says otherwise. A file is one that
    ``fewshot weights pack`` or a trainer wrote; its header says which network it fills.

    Raises:
        UnknownNameError: no such backbone or variant.
        WeightsError: the file is not there, or was not written by us.
    """
    if spec.endswith(SUFFIX):
        return Trained.of_file(_path(spec), layers=layers)
    name, _, variant = spec.partition(":")
    member: type[Backbone] = _member(name)
    return member(variant or None, layers=layers)


def _member(name: str) -> type[Backbone]:
    """Return the class of a backbone; tables and sentences drop ``torchvision:``, so that a user may type them so."""
    try:
        member: type[Backbone] = BACKBONES.load(name)
    except UnknownNameError as error:
        from torchvision import models

        if name not in models.list_models(module=models):
            raise
        message = f"there is no backbone {name!r}; torchvision's network of that name is torchvision:{name}"
        raise UnknownNameError(message) from error
    return member


def _path(spec: str) -> Path:
    try:
        return Path(spec).expanduser()
    except RuntimeError as error:  # ~NAME of nobody
        raise WeightsError(f"--backbone {spec}: {error}; write the path out") from error


def recreate(reference: BackboneReference, *, weights: Weights) -> Backbone:
    """Return the unloaded backbone that a store's layer records.

    Args:
        reference: what the layer records.
        weights: where its files lie; needed for a weight file of ours, whose header says the rest.

    Raises:
        WeightsError: a weight file of ours that was not named.
    """
    layers = reference.layers or None
    if not reference.base:
        return create(reference.name, layers=layers)
    file = weights.get("net") if isinstance(weights, Mapping) else None
    if not isinstance(file, Path):
        raise WeightsError(
            f"{reference.name!r} is a weight file of yours (a {reference.base}), and stores keep no weights; "
            f"name it with --weights {reference.name}=FILE{SUFFIX}"
        )
    return Trained.of_file(file, layers=layers)
