"""A head as it is swept: its scale, or the scales among which every support chooses, and the name in reports."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fewshot.core.errors import OptionError, unknown_name
from fewshot.heads.base import HEADS, Head
from fewshot.heads.scaling import why_not_scaled
from fewshot.heads.transductive import TransductiveHead
from fewshot.protocols.trials.trials import Trials

Scale = Literal["unit", "standard", "auto", "pool"]
SCALES: tuple[Scale, ...] = ("unit", "standard", "auto", "pool")


@dataclass(frozen=True)
class Variant:
    """A head on features of one scale.

    Args:
        scale: ``unit``, ``standard`` or ``pool``; ``stored`` for heads that take features as they are.
    """

    scale: str
    head: Head


@dataclass(frozen=True)
class HeadVariants:
    """A head and its scales.

    Args:
        label: what reports call it: ``svm``, ``svm (standard)``, ``soft-k-means (transductive)``.
        base: the head as it was named, on whatever scale.
        variants: one; several where every trial chooses among them inside its support, the preferred one first.
    """

    label: str
    base: Head
    variants: tuple[Variant, ...]

    @property
    def transductive(self) -> bool:
        """Whether its scores look at the unlabelled query images of their trial."""
        return any(isinstance(variant.head, TransductiveHead) for variant in self.variants)

    def called(self, variant: Variant, layer: str) -> str:
        """Return what one variant on a layer is called where it is chosen; empty for the layer's name."""
        return f"{layer} {variant.scale}" if len(self.variants) > 1 else ""


def variants_of(head: Head, scale: Scale) -> HeadVariants:
    """Return a head on the scale that is wanted, or as it is where it takes no other.

    Raises:
        UnknownNameError: no such scale.
    """
    if scale not in SCALES:
        raise unknown_name("scale", str(scale), SCALES)
    if scale == "unit" or why_not_scaled(head):
        stored = head.raw or len(head.views) > 1
        label = f"{head.name} (transductive)" if isinstance(head, TransductiveHead) else head.name
        return HeadVariants(label, head, (Variant("stored" if stored else "unit", head),))
    wrapper = HEADS.load("pool-standardised" if scale == "pool" else "standardised")
    scaled = Variant("pool" if scale == "pool" else "standard", wrapper(head.name, head.get_params()))
    variants = (Variant("unit", head), scaled) if scale == "auto" else (scaled,)
    return HeadVariants(f"{head.name} ({scale})", head, variants)


def require_scale(scale: Scale, shots: Sequence[int]) -> None:
    """Refuse a scale that there is not, and supports in which none can be chosen.

    Args:
        shots: counts; empty where supports are given.

    Raises:
        UnknownNameError: no such scale.
        OptionError: a choice by single images.
    """
    if scale not in SCALES:
        raise unknown_name("scale", str(scale), SCALES)
    if scale == "auto" and min(shots, default=2) < 2:
        raise OptionError(
            "--scale auto needs at least 2 shots, one to fit and one to validate; raise --shots, or name a scale"
        )


def not_scaled(heads: Sequence[Head], scale: Scale) -> Iterator[tuple[str, str]]:
    """Yield the names of heads to which a scale that is wanted does not apply, and why."""
    for head in heads if scale != "unit" else ():
        if reason := why_not_scaled(head):
            yield head.name, reason


def transductive_caveats(swept: Sequence[HeadVariants], trials: Trials) -> list[str]:
    """Return which heads look at unlabelled query images, and what that means for their numbers."""
    queried = round(float(np.mean([len(drawn.query) for drawn in trials.draws])))
    return [
        f"{each.label} is transductive: beside its support it looks at the features of the {queried} unlabelled images "
        f"that a trial queries (mean); the numbers hold for such batches, and other batches or another share of "
        f"synthetic images give other scores (docs/concepts/transductive-heads.md)"
        for each in swept
        if each.transductive
    ]


def require_not_fused(heads: Sequence[Head], scale: Scale) -> None:
    """Refuse what is not defined for a head over several backbones.

    Raises:
        OptionError: another scale than unit length, or a transductive head.
    """
    if scale != "unit":
        raise OptionError(
            f"--scale {scale} is for one backbone at a time, and a head over several (--fuse, -b a+b) takes blocks of "
            f"unit length; leave one of the two out"
        )
    if (name := next((head.name for head in heads if isinstance(head, TransductiveHead)), None)) is not None:
        raise OptionError(f"the head {name!r} is transductive and is not fused; leave it out, or --fuse and -b a+b")
