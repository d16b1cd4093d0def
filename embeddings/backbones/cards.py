"""The cards of our backbones, kept in ``cards.json`` beside them, so that listing them loads no network code.

``make cards`` writes the file from the members, and a test holds it equal to them. Members of other packages are
loaded (docs/decisions/0012-start-up.md).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot.core.files import write_text
from fewshot.core.registry import family
from fewshot.embeddings.backbones.purposes import PURPOSES
from fewshot.embeddings.card import Equality, WeightFile

if TYPE_CHECKING:
    from fewshot.embeddings.backbones.base import Backbone
    from fewshot.embeddings.card import BackboneCard

FILE = Path(__file__).parent / "cards.json"
BACKBONES = family("backbones")
_PACKAGE = "fewshot.embeddings.backbones"


@dataclass(frozen=True)
class ListedCard:
    """A card as it is listed: the fields of ``BackboneCard``, with the input rule in words.

    ``year`` is that of the paper, the first that its entry names; ``purpose`` says in a few words what it is for.
    """

    name: str
    layers: Mapping[str, int]
    layer: str
    input: str
    weights: tuple[WeightFile, ...] = ()
    has_logit: bool = False
    equality: Equality = "unverified"
    parameters: int | None = None
    gflops: float | None = None
    paper: str = ""
    reference: str = ""
    licence: str = ""
    note: str = ""
    year: int | None = None
    purpose: str = ""

    @classmethod
    def of(cls, card: "BackboneCard") -> "ListedCard":
        """Return the listed form of a card."""
        own: dict[str, Any] = {
            "input": str(card.input),
            "year": year_of(card.paper),
            "purpose": PURPOSES.get(card.name.partition(":")[0], ""),
        }
        return cls(**own, **{each.name: getattr(card, each.name) for each in fields(cls) if each.name not in own})


@dataclass(frozen=True)
class Member:
    """What is listed of one registered backbone.

    Args:
        summary: the first sentence of its docstring.
        cards: variant -> card, the default first; ``""`` where there is only one. Empty for a generic adapter.
        generic: whether it takes any model name.
    """

    summary: str
    cards: Mapping[str, ListedCard] = field(default_factory=dict)
    generic: bool = False

    @classmethod
    def of(cls, name: str) -> "Member":
        """Return what a backbone says of itself; loads it."""
        member: type[Backbone] = BACKBONES.load(name)
        variants = () if member.generic else member.variants or (None,)
        cards = {variant or "": ListedCard.of(member(variant).card) for variant in variants}
        return cls(BACKBONES.summary(name), cards, member.generic)


def member(name: str) -> Member:
    """Return what is listed of a registered backbone; only one of another package is loaded.

    Raises:
        UnknownNameError: no such backbone.
    """
    return _kept()[name] if _is_ours(name) and name in _kept() else Member.of(name)


def card(spec: str) -> ListedCard:
    """Return the card of ``NAME:VARIANT``; for one that is not kept the backbone is loaded.

    Raises:
        UnknownNameError: no such backbone or variant.
    """
    name, _, variant = spec.partition(":")
    kept = member(name).cards
    if variant in kept:
        return kept[variant]
    chosen: type[Backbone] = BACKBONES.load(name)
    return ListedCard.of(chosen(variant).card)


def year_of(paper: str) -> int | None:
    """Return the first year that the entry of a paper names, else that of its arXiv number.

    >>> year_of("Wang et al., DIRE, ICCV 2023; as run by FiSeR, ICML 2026"), year_of("Sim et al., arXiv 2508.10104")
    (2023, 2025)
    """
    named = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", paper)
    arxiv = re.search(r"\barXiv (\d\d)\d\d\.\d+", paper)
    return int(named[0]) if named else 2000 + int(arxiv[1]) if arxiv else None


def document() -> str:
    """Return what ``cards.json`` must hold: every member of ours, as JSON text; loads all of them."""
    ours = {name: _brief(Member.of(name)) for name in BACKBONES.names() if _is_ours(name)}
    return json.dumps(ours, indent=1, ensure_ascii=False) + "\n"


def _is_ours(name: str) -> bool:
    return BACKBONES.module(name).rpartition(".")[0] == _PACKAGE


@cache
def _kept() -> dict[str, Member]:
    found = {}
    for name, entry in json.loads(FILE.read_text(encoding="utf-8")).items():
        cards = {
            variant: ListedCard(
                **{**values, "weights": tuple(WeightFile(**each) for each in values.pop("weights", ()))}
            )
            for variant, values in entry.pop("cards", {}).items()
        }
        found[name] = Member(cards=cards, **entry)
    return found


def _brief(value: Any) -> Any:
    """Return a dataclass as JSON values without the fields that have their default."""
    if isinstance(value, Mapping):
        return {name: _brief(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_brief(part) for part in value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    shown = {each.name: getattr(value, each.name) for each in fields(value)}
    return {
        each.name: _brief(shown[each.name])
        for each in fields(value)
        if each.default is MISSING or shown[each.name] != each.default
    }


if __name__ == "__main__":
    write_text(FILE, document())
