"""What a detector file says of itself: ``detector.json``, every field of a declared type."""

from typing import Annotated, Any, Literal

import msgspec

FORMAT: Literal["fewshot-detector"] = "fewshot-detector"
VERSION = 2  # the latest that is read; files are written in the first version that can hold them

Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]
Digest = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$", max_length=64)]
Promise = Literal["certificate", "estimate"]
Side = Literal["above", "below"]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One backbone's layer with its head.

    Args:
        backbone, layer, views: which features, the views in the order in which the head wants them.
        dimension: of the layer; dtype: in which its features are computed and stored; normalised: of unit length.
        provenance: how the layer's features were produced, as a store records it; the path of further images.
        head: the head's name; centre, scale: of its cross-validated support scores, by which it counts among others.
        auroc: of it alone, cross-validated inside the support.
        licence: of the weights.
        weight: of its kernel where members are fused, else None. Their scores add up to the detector's: ``centre`` is
            0 and ``scale`` one over their number, so that readers that know of no fusion, and take the mean, agree.
    """

    backbone: str
    layer: str
    views: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)]
    dimension: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    dtype: Literal["float32", "float16"]
    normalised: bool
    provenance: dict[str, Any]
    head: str
    centre: Finite
    scale: Annotated[float, msgspec.Meta(gt=0.0, le=1e300)]
    auroc: Share
    licence: str = ""
    weight: Share | None = None

    @property
    def name(self) -> str:
        """Backbone and layer, as messages call the member."""
        return f"{self.backbone}/{self.layer}"


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that got no weight in a fusion: no network of it runs.

    Args:
        backbone, layer, view, dimension, dtype, normalised, auroc: as in ``Member``.
    """

    backbone: str
    layer: str
    view: str
    dimension: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
    dtype: Literal["float32", "float16"]
    normalised: bool
    auroc: Share

    @property
    def name(self) -> str:
        """Backbone and layer, as messages call it."""
        return f"{self.backbone}/{self.layer}"


class Fusion(msgspec.Struct, frozen=True, kw_only=True):
    """One support vector machine over all members, of which each holds its part (the head ``fused``).

    Args:
        weigh: by what the kernels are weighed inside the support.
        scale: spread of the support's scores, each image left out in turn with everything that is fitted.
        auroc: cross-validated inside the support, the weights found anew in each fold.
        choice_auroc: of one member alone, chosen anew in each fold by cross-validation inside it.
        dropped: layers without weight; their features of the support are kept, for they count where images are left
            out.
    """

    weigh: Literal["auroc", "alignment", "uniform"]
    scale: Annotated[float, msgspec.Meta(gt=0.0, le=1e300)]
    auroc: Share
    choice_auroc: Share
    dropped: Annotated[tuple[Dropped, ...], msgspec.Meta(max_length=100)] = ()


class Candidate(msgspec.Struct, frozen=True):
    """What was chosen among, with its AUROC cross-validated inside the support."""

    backbone: str
    layer: str
    head: str
    auroc: Share


class Counts(msgspec.Struct, frozen=True):
    """How many images a fit took, by class and by source."""

    natural: Count
    synthetic: Count
    sources: dict[str, Count]


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two thresholds, and what is promised of it.

    Args:
        value: a score; an image counts when its own is strictly beyond.
        side: which images count: naturals ``above`` (false alarms) or synthetic ones ``below`` (misses).
        kind: ``certificate``, from images that took no part in fitting; ``estimate``, from cross-validated scores of
            the support, which promises nothing.
        share: largest share of such images beyond the threshold, as promised; None where nothing is.
        confidence: of the promise; images: how many it stands on; beyond: how many of them may lie beyond it.
        wanted: the share that was asked for, where a weaker one was accepted.
    """

    value: Finite
    side: Side
    kind: Promise
    images: Count
    beyond: Count
    share: Share | None = None
    confidence: Share | None = None
    wanted: Share | None = None


class HeldOut(msgspec.Struct, frozen=True):
    """AUROC on images that took no part in fitting, or cross-validated inside the support.

    Args:
        kind: ``held-out`` or ``support`` (cross-validated).
        low, high: of a 95 % interval.
    """

    kind: Literal["held-out", "support"]
    auroc: Share
    low: Share | None
    high: Share | None
    natural: Count
    synthetic: Count


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """All that a detector file says beside arrays.

    Args:
        created: when, UTC; parent: SHA-256 of the file it was refitted from, empty without one.
        members: at least one; with several the score is the mean of theirs, each centred and scaled.
        fusion: how members were fitted together, None where each was fitted alone.
        candidates: what was chosen among inside the support; empty where nothing was.
        support, calibration, held_out_synthetic: how many images of which sources.
        alarm: above it ``synthetic`` is said; clear: below it ``natural``.
        held_out: how well classes are told apart.
        unknown_rate: share of images like the known ones that may be called unknown.
        notes: what whoever uses it must know.
        versions: of the libraries; seed: of all draws.
    """

    format: Literal["fewshot-detector"]
    version: Annotated[int, msgspec.Meta(ge=1)]
    name: str
    created: str
    parent: Digest
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1, max_length=100)]
    candidates: tuple[Candidate, ...]
    support: Counts
    calibration: Counts
    held_out_synthetic: Counts
    alarm: Threshold
    clear: Threshold
    held_out: HeldOut
    unknown_rate: Rate
    notes: tuple[str, ...]
    versions: dict[str, str]
    seed: Annotated[int, msgspec.Meta(ge=0)]
    fusion: Fusion | None = None

    @property
    def spread(self) -> float:
        """How far the support's scores spread within a class, each image left out in turn; near 1 of a mean."""
        if self.fusion is not None:
            return self.fusion.scale
        return self.members[0].scale if len(self.members) == 1 else 1.0

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each member of a fusion by its name; empty where none is."""
        return {each.name: each.weight for each in self.members if each.weight is not None}

    @property
    def bounds(self) -> tuple[float, float]:
        """Below which score ``natural`` is said, and above which ``synthetic``: the lower and the higher threshold."""
        low, high = sorted((self.alarm.value, self.clear.value))
        return low, high
