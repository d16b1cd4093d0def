"""Which backbones a fit fuses: names joined by ``+``, as ``-b npr+ferretnet``."""

from collections.abc import Sequence
from pathlib import Path

from fewshot.core.errors import OptionError
from fewshot.detector.fitting_inputs import known_as
from fewshot.embeddings.store.reader import FeatureStore

Groups = Sequence[tuple[str, ...]]


def fused_names(given: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the backbones of each name that was given; several where ``+`` joins them. A file keeps its name.

    >>> fused_names(["npr+ferretnet", "spectrum"])
    [('npr', 'ferretnet'), ('spectrum',)]

    Raises:
        OptionError: one is named twice in what is joined, or nothing stands beside a ``+``.
    """
    found: list[tuple[str, ...]] = []
    for text in given:
        group = (text,) if "+" not in text or Path(text).exists() else tuple(part.strip() for part in text.split("+"))
        if not all(group):
            raise OptionError(f"-b {text}: a name is missing beside a +; write for example -b npr+ferretnet")
        _require_distinct(group)
        found.append(group)
    return list(dict.fromkeys(found))


def known_groups(store: FeatureStore, groups: Groups) -> list[tuple[str, ...]]:
    """Return the groups by the names by which a store knows the backbones.

    Raises:
        OptionError: two of a group are the same one.
    """
    found = [tuple(known_as(store, group)) for group in groups]
    for group in found:
        _require_distinct(group)
    return list(dict.fromkeys(found))


def _require_distinct(group: Sequence[str]) -> None:
    twice = [name for name in dict.fromkeys(group) if group.count(name) > 1]
    if twice:
        raise OptionError(
            f"-b {'+'.join(group)}: {twice[0]} is named twice, and a backbone adds nothing to itself; name each once"
        )
