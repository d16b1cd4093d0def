"""From features to scores: what a head takes of some images, what a member scores, and how members count together."""

from collections.abc import Mapping, Sequence

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.detector.description import Member
from fewshot.detector.known_images import FeatureKey
from fewshot.heads.base import Head


def prepared(
    head: Head, features: Mapping[FeatureKey, FloatArray], *, backbone: str, layer: str, normalised: bool
) -> FloatArray:
    """Return what a head takes of some images: (n, D').

    Args:
        features: backbone, layer, view -> (n, D), as stored, of each of the head's views.
        normalised: whether they are of unit length already.
    """
    seen = {view: features[backbone, layer, view].astype(np.float32, copy=False) for view in head.views}
    return head.prepare(seen, normalised=normalised, what=f"layer {layer!r} of {backbone!r}")


def prepared_of(member: Member, head: Head, features: Mapping[FeatureKey, FloatArray]) -> FloatArray:
    """Return what a member's head takes of some images: (n, D')."""
    return prepared(head, features, backbone=member.backbone, layer=member.layer, normalised=member.normalised)


def member_scores(member: Member, head: Head, features: Mapping[FeatureKey, FloatArray]) -> Float64Array:
    """Return (M,) scores of one member's head."""
    return np.asarray(head.decision_function(prepared_of(member, head, features)), dtype=np.float64)


def combined(members: Sequence[Member], own: Mapping[str, Float64Array]) -> Float64Array:
    """Return the detector's scores: those of its only member, else the mean of centred and scaled ones."""
    return np.asarray(np.mean(list(counted(members, own).values()), axis=0))


def counted(members: Sequence[Member], own: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """Return members' scores as they count: that of an only member as it is, else each centred and scaled."""
    if len(members) == 1:
        return dict(own)
    return {member.name: (own[member.name] - member.centre) / member.scale for member in members}
