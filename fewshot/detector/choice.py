"""Which layer, head and backbone a detector takes: chosen inside the support, by images that were left out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.names import line_fault
from fewshot.detector.choosable import Choosable
from fewshot.detector.cross_validation import choice_auroc, class_spread, left_out_scores
from fewshot.detector.description import Candidate, Fusion, Member
from fewshot.detector.fitted_member import FittedMember, member_of
from fewshot.detector.fusing import fuse, fused_head, side_by_side
from fewshot.detector.known_images import FeatureKey, KnownImages
from fewshot.detector.scores import combined
from fewshot.heads.base import Head

Combine = Literal["choose", "mean", "fuse"]


@dataclass(frozen=True)
class Chosen:
    """What a detector takes.

    Args:
        members: fitted.
        left_out: (n,) scores of the support's images by heads that did not see them.
        candidates: what was chosen among, with the AUROC of each; empty where nothing was.
        fusion: how the members were fitted together, None where each was fitted alone; dropped: (n, D) features of the
            support, of layers that got no weight; notes: what a user must know.
    """

    members: tuple[FittedMember, ...]
    left_out: Float64Array
    candidates: tuple[Candidate, ...]
    fusion: Fusion | None = None
    dropped: Mapping[FeatureKey, FloatArray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Unit:
    """What is chosen as one: a layer with its head, or several layers that are fused.

    Args:
        parts: the layers; taken: (n, D) what the head of each takes of the support.
    """

    parts: tuple[Choosable, ...]
    taken: tuple[FloatArray, ...]

    @property
    def fused(self) -> bool:
        return bool(self.parts[0].fused_in)

    @property
    def head(self) -> Head:
        if not self.fused:
            return self.parts[0].head
        return fused_head([each.head for each in self.parts], [rows.shape[1] for rows in self.taken])

    @property
    def features(self) -> FloatArray:
        return side_by_side(self.taken) if self.fused else self.taken[0]

    def candidate(self, auroc: float) -> Candidate:
        backbones, layers = (
            _joined([getattr(each.info, name) for each in self.parts]) for name in ("backbone", "layer")
        )
        return Candidate(backbones, layers, self.head.name, auroc)


def choose(support: KnownImages, choosable: Sequence[Choosable], *, combine: Combine) -> Chosen:
    """Return what is taken, fitted, and what it was chosen among; ties go to the first.

    Args:
        support: images of both classes.
        combine: of several backbones, ``choose`` one, take one layer and head of each for their ``mean``, or ``fuse``
            all that is given in one machine. What has one name in ``fused_in`` is fused in any case.

    Raises:
        EpisodeError: a class has one image only.
        OptionError: a head that cannot be fused.
    """
    units = _units(support, choosable, combine)
    auroc = [choice_auroc(each.head, each.features, support.synthetic) for each in units]
    best: dict[str, int] = {}
    for number, each in enumerate(units):
        group = each.parts[0].info.backbone if combine == "mean" else ""
        if group not in best or auroc[number] > auroc[best[group]]:
            best[group] = number
    among = tuple(each.candidate(value) for each, value in zip(units, auroc, strict=True)) if len(units) > 1 else ()
    taken = [(units[number], auroc[number]) for number in best.values()]
    unit, value = taken[0]
    if unit.fused:
        found = fuse(support, unit.parts, unit.taken, auroc=value)
        return Chosen(found.members, found.left_out, among, found.fusion, found.dropped, tuple(found.notes))
    fitted = [_fitted(*each, support) for each in taken]
    left_out = combined([each.member for each, _ in fitted], {each.member.name: own for each, own in fitted})
    return Chosen(tuple(each for each, _ in fitted), left_out, among)


def _units(support: KnownImages, choosable: Sequence[Choosable], combine: Combine) -> list[_Unit]:
    """Return what is chosen as one, in the order in which the first of each is given."""
    every = [replace(each, fused_in=combine) for each in choosable] if combine == "fuse" else choosable
    found: dict[str | int, list[Choosable]] = {}
    for number, each in enumerate(every):
        found.setdefault(each.fused_in or number, []).append(each)
    return [_Unit(tuple(parts), tuple(each.prepared(support) for each in parts)) for parts in found.values()]


def _fitted(unit: _Unit, auroc: float, support: KnownImages) -> tuple[FittedMember, Float64Array]:
    """Return a layer with its fitted head, and the support's scores by heads that did not see them."""
    (chosen,), features = unit.parts, unit.features
    left_out = left_out_scores(chosen.head, features, support.synthetic)
    centre = float(np.mean([left_out[support.synthetic == label].mean() for label in (False, True)]))
    member: Member = member_of(chosen, centre=centre, scale=class_spread(left_out, support.synthetic), auroc=auroc)
    fitted = chosen.head.unfitted().fit(features, support.synthetic.astype(np.int64))
    return FittedMember(member, fitted), left_out


def _joined(names: Sequence[str]) -> str:
    """Return names as one that a file can hold."""
    text = "+".join(dict.fromkeys(names))
    return text if not line_fault(text) else f"{len(names)} fused"
