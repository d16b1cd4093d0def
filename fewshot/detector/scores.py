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
    """Return the detector's scores: the sum of fused members' ones, else the mean as they count."""
    scores = list(counted(members, own).values())
    return np.asarray(np.sum(scores, axis=0) if _fused(members) else np.mean(scores, axis=0))


def counted(members: Sequence[Member], own: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
    """Return members' scores as they count: as they are of an only member or of fused ones, else centred and scaled."""
    if len(members) == 1 or _fused(members):
        return dict(own)
    return {member.name: (own[member.name] - member.centre) / member.scale for member in members}


def _fused(members: Sequence[Member]) -> bool:
    return members[0].weight is not None
