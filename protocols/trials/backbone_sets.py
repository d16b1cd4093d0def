"""Which backbones an experiment measures: single ones, sets that are fused, and the choice of one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from fewshot.core.errors import OptionError, unknown_name
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.trials.layers import CHOSEN, keys_to_score
from fewshot.results.row import FUSED, ONE

FusionForm = Literal["kernel", "scores"]
PLUS = "+"  # between the members of a set


@dataclass(frozen=True)
class BackboneSet:
    """Backbones that one head is fitted on.

    Args:
        name: as reports call it: ``a+b`` as the user named it, or ``fused`` for all.
        members: the backbones.
    """

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class BackboneSets:
    """What is measured of a store's backbones.

    Args:
        singles: backbones that are measured by themselves.
        sets: that are fused.
        choice: whether the choice of one of ``singles`` is measured too.
    """

    singles: tuple[str, ...]
    sets: tuple[BackboneSet, ...] = ()
    choice: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """Every backbone that is read, once."""
        return tuple(dict.fromkeys([*self.singles, *(name for each in self.sets for name in each.members)]))


def backbone_sets(
    store: FeatureStore, names: Sequence[str], *, layer: Sequence[str] = ("fixed",), fuse: FusionForm | None = None
) -> BackboneSets:
    """Return what names such as ``a``, ``b`` and ``a+b`` stand for.

    Args:
        names: of backbones and sets; all of the store when empty.
        layer: which layers are read, as for ``keys_to_score``.
        fuse: given, all backbones that are named are measured by themselves, together, and one of them chosen.

    Raises:
        UnknownNameError: a backbone or layer is not there.
        OptionError: a set names a backbone twice, or there is nothing to fuse.
    """
    singles, sets = [], []
    for name in names or store.backbones:
        members = _members(store, name)
        if len(members) == 1:
            singles.append(name)
        else:
            sets.append(BackboneSet(name, members))
    found = BackboneSets(tuple(dict.fromkeys(singles)), tuple(dict.fromkeys(sets)))
    if fuse is not None:
        found = _all_fused(found)
    if found.sets:
        _require_fixed(layer)
        for each in found.sets:
            _require_several(store, each, layer)
    return found


def _members(store: FeatureStore, name: str) -> tuple[str, ...]:
    """Return the members of a set, or the backbone of this name."""
    if name in store.backbones or PLUS not in name:
        store.layer_names(name)
        return (name,)
    members = tuple(part.strip() for part in name.split(PLUS))
    for member in members:
        if member not in store.backbones:
            raise unknown_name(f"backbone in {store.path}, as the set {name!r} names it:", member, store.backbones)
        if members.count(member) > 1:
            raise OptionError(f"the set {name!r} names {member!r} twice; name every backbone of a set once")
    return members


def _all_fused(found: BackboneSets) -> BackboneSets:
    """Return the same with every backbone by itself, all of them together, and the choice of one."""
    members = found.members
    for name in (FUSED, ONE):
        if name in members:
            raise OptionError(f"a backbone is called {name!r}, which --fuse calls its own rows; leave it out with -b")
    everything = [each for each in found.sets if set(each.members) == set(members)]
    sets = found.sets if everything else (*found.sets, BackboneSet(FUSED, members))
    return BackboneSets(members, sets, choice=True)


def _require_fixed(layer: Sequence[str]) -> None:
    chosen = [name for name in layer if name in CHOSEN]
    if chosen:
        raise OptionError(
            f"--layer {chosen[0]} chooses one layer, and a fused head weighs several inside the support; give --layer "
            f"all to fuse every layer, or fixed"
        )


def _require_several(store: FeatureStore, wanted: BackboneSet, layer: Sequence[str]) -> None:
    keys = list(_keys(store, wanted.members, layer))
    if len(keys) < 2:
        raise OptionError(
            f"--fuse takes several backbones, and there is one, {wanted.members[0]!r}, with one layer; embed another "
            f"into the store, name more with -b, or fuse its layers with --layer all"
        )


def _keys(store: FeatureStore, members: Sequence[str], layer: Sequence[str]) -> Iterator[str]:
    for name in members:
        yield from map(str, keys_to_score(store, name, layer))
