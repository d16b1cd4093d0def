"""Which layers of a backbone an experiment scores, and which it reports as they are."""

from collections.abc import Sequence
from typing import Literal

from fewshot.core.errors import OptionError
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.reader import FeatureStore

Chosen = Literal["support-cv", "oracle"]
CHOSEN: tuple[Chosen, ...] = ("support-cv", "oracle")


def require_consistent(wanted: Sequence[str]) -> None:
    """Refuse ``all`` beside anything else.

    Raises:
        OptionError: it does not stand alone, or the list is empty.
    """
    if not wanted:
        raise OptionError("--layer is empty; give fixed, a name, all, support-cv or oracle")
    if "all" in wanted and len(wanted) > 1:
        raise OptionError(f"--layer all stands alone, and {', '.join(wanted)} are given; leave the others out")


def keys_to_score(store: FeatureStore, backbone: str, wanted: Sequence[str]) -> tuple[LayerKey, ...]:
    """Return the layers that must be scored, in the view ``clean``, the default one first where something is chosen.

    Args:
        wanted: names of layers, and ``fixed``, ``all``, ``support-cv``, ``oracle``.

    Raises:
        UnknownNameError: no such layer.
    """
    default, names = store.default_layer(backbone), store.layer_names(backbone)
    found: list[str] = []
    for name in wanted:
        if name == "fixed":
            found.append(default)
        elif name == "all":
            found += names
        elif name in CHOSEN:
            found += [default, *names]
        else:
            found.append(store.info(backbone, name).layer)
    return tuple(LayerKey(backbone, layer) for layer in dict.fromkeys(found))


def is_reported_fixed(layer: str, wanted: Sequence[str], *, default: str) -> bool:
    """Return whether a scored layer has rows of its own: named ones, and the default one beside a choice."""
    if any(name in CHOSEN for name in wanted):
        return layer == default or layer in wanted
    return True
