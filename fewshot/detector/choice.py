"""Which layer, head and backbone a detector takes: chosen inside the support, by images that were left out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.detector.cross_validation import choice_auroc, left_out_scores
from fewshot.detector.description import Candidate, Member
from fewshot.detector.known_images import FeatureKey, KnownImages
from fewshot.detector.scores import prepared
from fewshot.embeddings.store.layer_info import LayerInfo
from fewshot.heads.base import Head

Combine = Literal["choose", "mean"]


@dataclass(frozen=True)
class Choosable:
    """One layer with one head, among which a fit chooses.

    Args:
        info: the layer, in the first of the head's views.
        head: its parameters; not fitted here.
        licence: of the weights.
    """

    info: LayerInfo
    head: Head
    licence: str = ""

    @property
    def keys(self) -> tuple[FeatureKey, ...]:
        """Backbone, layer and view of the features that the head looks at."""
        return tuple((self.info.backbone, self.info.layer, view) for view in self.head.views)

    def prepared(self, images: KnownImages) -> FloatArray:
        """Return what the head takes of some images: (n, D')."""
        info = self.info
        return prepared(
            self.head, images.features, backbone=info.backbone, layer=info.layer, normalised=info.normalised
        )


@dataclass(frozen=True)
class FittedMember:
    """A member with its fitted head.

    Args:
        left_out: (n,) scores of the support's images by heads that did not see them.
    """

    member: Member
    head: Head
    left_out: Float64Array

    @property
    def key(self) -> FeatureKey:
        """Backbone, layer and view by which it looks for near images."""
        return (self.member.backbone, self.member.layer, self.member.views[0])


def choose(
    support: KnownImages, choosable: Sequence[Choosable], *, combine: Combine
) -> tuple[list[FittedMember], tuple[Candidate, ...]]:
    """Return what is taken, fitted, and what it was chosen among with the AUROC of each; ties go to the first.

    Args:
        support: images of both classes.
        combine: of several backbones, ``choose`` one, or take one layer and head of each for their ``mean``.

    Raises:
        EpisodeError: a class has one image only.
    """
    taken = [each.prepared(support) for each in choosable]
    auroc = [
        choice_auroc(each.head, features, support.synthetic) for each, features in zip(choosable, taken, strict=True)
    ]
    best: dict[str, int] = {}
    for number, each in enumerate(choosable):
        group = each.info.backbone if combine == "mean" else ""
        if group not in best or auroc[number] > auroc[best[group]]:
            best[group] = number
    found = [_fitted(choosable[number], taken[number], support, auroc[number]) for number in best.values()]
    among = [
        Candidate(each.info.backbone, each.info.layer, each.head.name, value)
        for each, value in zip(choosable, auroc, strict=True)
    ]
    return found, tuple(among) if len(among) > 1 else ()


def _fitted(chosen: Choosable, features: FloatArray, support: KnownImages, auroc: float) -> FittedMember:
    left_out = left_out_scores(chosen.head, features, support.synthetic)
    classes = [left_out[support.synthetic == label] for label in (False, True)]
    spread = float(np.sqrt(np.mean([np.var(scores) for scores in classes])))
    info = chosen.info
    member = Member(
        backbone=info.backbone,
        layer=info.layer,
        views=chosen.head.views,
        dimension=info.dimension,
        dtype=info.dtype,  # type: ignore[arg-type]  # one of the types of stores
        normalised=info.normalised,
        provenance=dict(info.provenance),
        head=chosen.head.name,
        centre=float(np.mean([scores.mean() for scores in classes])),
        scale=spread if spread > 0 else 1.0,
        auroc=auroc,
        licence=chosen.licence,
    )
    fitted = chosen.head.unfitted().fit(features, support.synthetic.astype(np.int64))
    return FittedMember(member, fitted, left_out)
