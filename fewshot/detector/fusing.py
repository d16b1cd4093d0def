"""Several layers in one support vector machine: weighed and fitted inside the support, a member for each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import OptionError
from fewshot.detector.choosable import Choosable
from fewshot.detector.cross_validation import choice_auroc, class_spread, left_out_scores, support_cv_auroc
from fewshot.detector.description import Dropped, Fusion
from fewshot.detector.fitted_member import FittedMember, member_of
from fewshot.detector.known_images import FeatureKey, KnownImages
from fewshot.heads.base import Head
from fewshot.heads.fused import Fused
from fewshot.heads.svm import Svm
from fewshot.solvers.fusion_weights import Weigh

WEIGH: Weigh = "alignment"  # docs/decisions/0016-fusion-weights.md


@dataclass(frozen=True)
class FusedMembers:
    """What a fusion became.

    Args:
        members: those with a weight, each with its part of the machine: the parts' scores add up to the machine's.
        left_out: (n,) scores of the support's images by machines that saw them neither when they were fitted nor when
            they were weighed.
        fusion: what the file says of it; dropped: features of the support, of layers without weight.
    """

    members: tuple[FittedMember, ...]
    left_out: Float64Array
    fusion: Fusion
    dropped: dict[FeatureKey, FloatArray]

    @property
    def notes(self) -> list[str]:
        """What the detector's user must know: which layers are left out."""
        return [
            f"{each.name} got no weight inside the support and is left out; its network does not run"
            for each in self.fusion.dropped
        ]


def require_fusible(heads: Sequence[Head]) -> None:
    """Refuse heads that are no support vector machine with one setting.

    Raises:
        OptionError: of one that is another head, or set otherwise than the first.
    """
    for head in heads:
        if not isinstance(head, Svm):
            raise OptionError(
                f"--head {head.name} cannot be fused over several backbones: only svm can, by the sum of its kernels. "
                f"Leave --head out, or take the mean of scores with -b a,b --combine mean, which every head can"
            )
    if len({(head.C, head.gamma) for head in heads if isinstance(head, Svm)}) > 1:
        raise OptionError("heads of different C or gamma cannot be fused in one machine; give all of them the same")


def fused_head(heads: Sequence[Head], widths: Sequence[int], *, weigh: Weigh = WEIGH) -> Fused:
    """Return the unfitted machine over several layers, with the settings of their own heads.

    Args:
        heads: one ``svm`` a layer; widths: columns of each.

    Raises:
        OptionError: as ``require_fusible``.
    """
    require_fusible(heads)
    first = heads[0]
    assert isinstance(first, Svm)
    return Fused(widths=tuple(widths), weigh=weigh, C=first.C, gamma=first.gamma)


def side_by_side(blocks: Sequence[FloatArray]) -> FloatArray:
    """Return what the machine takes: (n, D1 + ... + DB), of each layer's (n, D) as its own head takes it."""
    return np.hstack(list(blocks))


def fuse(
    support: KnownImages, choosable: Sequence[Choosable], blocks: Sequence[FloatArray], *, auroc: float
) -> FusedMembers:
    """Fit one machine over several layers.

    Args:
        support: images of both classes.
        choosable: the layers; blocks: (n, D) what the head of each takes of the support.
        auroc: of the machine, cross-validated inside the support.

    Raises:
        EpisodeError: a class has one image only.
        OptionError: as ``require_fusible``.
    """
    heads, synthetic = [each.head for each in choosable], support.synthetic
    whole = _fitted(heads, blocks, support)
    kept = np.flatnonzero(whole.weights_ > 0).tolist()
    left_out = left_out_scores(whole.unfitted(), side_by_side(blocks), synthetic)
    alone = [choice_auroc(head, block, synthetic) for head, block in zip(heads, blocks, strict=True)]
    members = tuple(
        _member(choosable[at], auroc=alone[at], part=part, weight=float(whole.weights_[at]), among=len(kept))
        for at, part in zip(kept, _parts(whole, kept), strict=True)
    )
    dropped = [at for at in range(len(choosable)) if at not in kept]
    fusion = Fusion(
        weigh=WEIGH,
        scale=class_spread(left_out, synthetic),
        auroc=auroc,
        choice_auroc=support_cv_auroc(heads, blocks, synthetic),
        dropped=tuple(_dropped(choosable[at], alone[at]) for at in dropped),
    )
    features = {key: support.features[key] for at in dropped for key in choosable[at].keys}
    return FusedMembers(members, left_out, fusion, features)


def _fitted(heads: Sequence[Head], blocks: Sequence[FloatArray], support: KnownImages) -> Fused:
    head = fused_head(heads, [block.shape[1] for block in blocks])
    return head.fit(side_by_side(blocks), support.synthetic.astype(np.int64))


def _parts(whole: Fused, kept: Sequence[int]) -> list[Head]:
    """Return the heads of the layers with a weight; the first has the bias, whichever part it was in.

    A machine over these layers alone would be another one: what the others showed has a say in all weights.
    """
    states = whole.parts()
    bias = np.sum([state.arrays["intercept_"] for state in states])
    found = [replace(states[at], arrays={**states[at].arrays, "intercept_": np.asarray(0.0)}) for at in kept]
    found[0] = replace(found[0], arrays={**found[0].arrays, "intercept_": np.asarray(bias)})
    return [Head.from_state(state) for state in found]


def _member(chosen: Choosable, *, auroc: float, part: Head, weight: float, among: int) -> FittedMember:
    return FittedMember(member_of(chosen, centre=0.0, scale=1 / among, auroc=auroc, weight=weight), part)


def _dropped(chosen: Choosable, auroc: float) -> Dropped:
    info = chosen.info
    return Dropped(
        backbone=info.backbone,
        layer=info.layer,
        view=info.view,
        dimension=info.dimension,
        dtype=info.dtype,  # type: ignore[arg-type]  # one of the types of stores
        normalised=info.normalised,
        auroc=auroc,
    )
