"""What a shell offers behind an option: backbones, layers, heads and columns, of the store on the line where one is.

Nothing here may fail, load a network or take long: a shell waits for it at every press of the key.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fewshot.embeddings.store.reader import FeatureStore

_STORES = ("store", "stores", "support", "query")  # the parameters that name stores
_MOST_VALUES = 50  # of a column; one that has more is no choice


def backbones(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last of a list of backbones: of the stores on the line, else of all that there are."""
    return _last_of_list(incomplete, _of_stores(context, lambda store: store.backbones) or _members("backbones"))


def embedding_backbones(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last of a list of backbones to embed with."""
    return _last_of_list(incomplete, ["all", *_members("backbones")])


def layers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last of a list of layers of the stores on the line, or a word by which they are chosen."""
    named = set(_texts(context.params.get("backbone")))
    words = [word for word in (parameter.metavar or "").split("|") if word.islower()]

    def of(store: "FeatureStore") -> list[str]:
        return [info.layer for info in store.layers if not named or info.backbone in named]

    return _last_of_list(incomplete, [*words, *_of_stores(context, of)])


def embedding_layers(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete ``BACKBONE=LAYER,LAYER`` of the backbones on the line, from their cards."""
    backbone, equals, begun = incomplete.partition("=")
    if not equals:
        named = _texts(context.params.get("backbones")) or _members("backbones")
        return [f"{name}=" for name in named if name.startswith(backbone)]
    from fewshot.core.errors import FewshotError
    from fewshot.embeddings.backbones.catalogue import backbones as rows

    with suppress(FewshotError):
        return [f"{backbone}={layer}" for layer in _last_of_list(begun, rows((backbone,))[0]["layers"])]
    return []


def heads(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last of a list of heads."""
    return _last_of_list(incomplete, _members("heads"))


def family_members(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete the last of a list of members of the family on the line, of backbones where none is."""
    family = str(context.params.get("family") or "backbones")
    return _last_of_list(incomplete, [] if family == "views" else _members(family))


def columns(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete a column of the stores on the line."""
    return _beginning(incomplete, _of_stores(context, lambda store: store.columns))


def columns_and_values(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete ``COLUMN=VALUE,VALUE`` of the stores on the line; values where a column has few."""
    column, equals, begun = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in _beginning(column, _of_stores(context, lambda store: store.columns))]

    def of(store: "FeatureStore") -> list[str]:
        values = sorted({str(value) for value in store.column(column)} - {""})
        return values if len(values) <= _MOST_VALUES else []

    return [f"{column}={value}" for value in _last_of_list(begun, _of_stores(context, of))]


def _of_stores(context: click.Context, read: Callable[["FeatureStore"], Iterable[str]]) -> list[str]:
    """Return what ``read`` finds in the stores on the line, each once; a file that is no store has nothing."""
    from fewshot.core.errors import FewshotError
    from fewshot.embeddings.store.reader import FeatureStore

    # The parser leaves arguments in ``args`` when it stops at the option whose value is being typed.
    given = [text for name in _STORES for text in _texts(context.params.get(name))] + context.args
    found: list[str] = []
    for path in dict.fromkeys(map(Path, given)):
        with suppress(FewshotError, OSError, ValueError):
            if path.is_file():
                with FeatureStore(path) as store:
                    found += read(store)
    return list(dict.fromkeys(found))


def _members(family_name: str) -> list[str]:
    from fewshot.core.registry import family

    return list(family(family_name).names())


def _texts(value: Any) -> list[str]:
    return [] if value is None else [str(part) for part in (value if isinstance(value, list | tuple) else [value])]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _last_of_list(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the list typed so far with each name that its last part may become; what is in it already is left out."""
    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [f"{before}{comma}{name}" for name in _beginning(last, names) if not comma or name not in given]
