"""Rows that several backbones make: what they are called, so that nobody takes them for a backbone."""

from collections.abc import Mapping, Sequence

from fewshot.results.row import FUSED, ONE, Row

PLUS = "+"  # between the members of a set that the user named


def backbone_title(row: Row, short: Mapping[str, str] | None = None) -> str:
    """Return what tables, sentences and figures call a row's backbone, or the several that make it.

    Args:
        short: shorter names of backbones, where there are some.

    >>> about = dict(dataset="toy", source="all", metric="auroc", n_support=20, n_query=80, values=(0.5,), shots=10)
    >>> backbone_title(Row("fused", "fixed", "fixed", "svm", members=("npr/pooled", "safe/pooled"), **about))
    'all 2 fused'
    >>> backbone_title(Row("one", "oracle", "oracle", "svm", members=("npr/pooled", "safe/pooled"), **about))
    'one of 2 (by oracle)'
    """
    names = short or {}
    if not row.members:
        return names.get(row.backbone, row.backbone)
    backbones = backbones_of(row.members)
    many = f"{len(backbones)}" if len(backbones) > 1 else f"{len(row.members)} layers"
    if row.backbone == FUSED:
        return f"all {many} fused"
    if row.backbone == ONE:
        return f"one of {many} ({'by oracle' if row.selection == 'oracle' else 'chosen in the support'})"
    return f"{PLUS.join(names.get(name, name) for name in backbones)} fused"


def member_title(member: str, members: Sequence[str], short: Mapping[str, str] | None = None) -> str:
    """Return what a member is called among others: its backbone, with the layer where the backbone has several.

    >>> member_title("npr/early", ["npr/early", "npr/late", "safe/pooled"])
    'npr/early'
    """
    backbone, _, layer = member.partition("/")
    several = len(backbones_of(members)) < len(set(members))
    name = (short or {}).get(backbone, backbone)
    return f"{name}/{layer}" if several else name


def backbones_of(members: Sequence[str]) -> tuple[str, ...]:
    """Return the backbones of members, each once."""
    return tuple(dict.fromkeys(member.partition("/")[0] for member in members))


def row_backbones(row: Row) -> tuple[str, ...]:
    """Return the backbones whose features a row was measured on."""
    return backbones_of(row.members) if row.members else (row.backbone,)
