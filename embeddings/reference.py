"""Which network gave some features: enough to find, build and check the very same one again.

A store records a reference with every layer; a weight file of ours carries one in its header. JSON both ways.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Required, Self, TypedDict

from fewshot.core.errors import WeightsError
from fewshot.core.names import is_one_line

_MOST_CHARACTERS = 10_000


@dataclass(frozen=True)
class BackboneReference:
    """One network with its weights and what it is shown.

    Args:
        name: the card's name, as stores and messages call it.
        layers: the layers that it gives.
        weights: part -> SHA-256 of the file that filled it, or ``random...``.
        input: the input rule in words, as the card prints it.
        base: for a weight file of ours, the registered backbone whose network it fills; empty for that one itself.
        rule: the input rule as data, where it is not the base's own (``inputs.transforms.rule_to_json``).
        layer: for a weight file of ours, the default layer.
        head_layer: the layer that the file's own linear head reads, empty without a head.
        licence: of a weight file of ours: that of the base and of what it was trained on.
        digest: of a weight file of ours: SHA-256 over names, shapes and values of its tensors.
        note: what a user must know, in one sentence.
    """

    name: str
    layers: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict, hash=False)
    input: str = ""
    base: str = ""
    rule: Mapping[str, Any] = field(default_factory=dict, hash=False)
    layer: str = ""
    head_layer: str = ""
    licence: str = ""
    digest: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the reference as JSON values, without what is empty."""
        return {name: _plain(value) for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, document: Any, *, where: str) -> Self:
        """Return the reference that ``to_json`` gave.

        Args:
            document: decoded JSON; fields of later versions are passed over.
            where: the file or layer it stands in, for the message.

        Raises:
            WeightsError: a field is missing, of another type, or text that no line can show.
        """
        import msgspec

        if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
            raise WeightsError(f"{where} holds no reference of a backbone (a JSON object with a name); write it again")
        try:
            found: dict[str, Any] = dict(msgspec.convert(dict(document), _Document))
        except (msgspec.ValidationError, RecursionError) as error:
            raise WeightsError(f"{where}: the reference is not readable ({error}); write it again") from error
        if unfit := [text[:80] for text in _texts(found) if len(text) > _MOST_CHARACTERS or not is_one_line(text)]:
            raise WeightsError(
                f"{where}: {unfit[0]!r} in the reference has control characters or no end; write it again"
            )
        return cls(**{**found, "layers": tuple(found.get("layers", ()))})


class _Document(TypedDict, total=False):
    """The JSON form; fields that later versions add are passed over."""

    name: Required[str]
    layers: list[str]
    weights: dict[str, str]
    input: str
    base: str
    rule: dict[str, Any]
    layer: str
    head_layer: str
    licence: str
    digest: str
    note: str


def _texts(document: Mapping[str, Any]) -> list[str]:
    weights = document.get("weights", {})
    single = [value for value in document.values() if isinstance(value, str)]
    return [*single, *document.get("layers", []), *weights, *weights.values()]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
