"""A member of a detector with its fitted head."""

from dataclasses import dataclass

from fewshot.detector.choosable import Choosable
from fewshot.detector.description import Member
from fewshot.detector.known_images import FeatureKey
from fewshot.heads.base import Head


@dataclass(frozen=True)
class FittedMember:
    """A member with its fitted head."""

    member: Member
    head: Head

    @property
    def key(self) -> FeatureKey:
        """Backbone, layer and view by which it looks for near images."""
        return (self.member.backbone, self.member.layer, self.member.views[0])


def member_of(chosen: Choosable, *, centre: float, scale: float, auroc: float, weight: float | None = None) -> Member:
    """Return what a detector's file says of a layer and head that it takes; the numbers as in ``Member``."""
    info = chosen.info
    return Member(
        backbone=info.backbone,
        layer=info.layer,
        views=chosen.head.views,
        dimension=info.dimension,
        dtype=info.dtype,  # type: ignore[arg-type]  # one of the types of stores
        normalised=info.normalised,
        provenance=dict(info.provenance),
        head=chosen.head.name,
        centre=centre,
        scale=scale,
        auroc=auroc,
        licence=chosen.licence,
        weight=weight,
    )
