"""Whether what a detector file says follows from the images and scores that it holds: counts, thresholds, AUROC."""

from itertools import chain

import numpy as np

from fewshot.core.arrays import Float64Array
from fewshot.core.names import is_one_line, line_fault
from fewshot.detector.certificate import risk
from fewshot.detector.description import Counts, Description, HeldOut, Side, Threshold
from fewshot.detector.known_images import KnownImages, Role
from fewshot.stats.metrics import Ranked

_ROUNDING = 1e-9


def require_consistent(
    description: Description,
    images: KnownImages,
    *,
    support_scores: Float64Array,
    calibration_scores: Float64Array,
    held_out_scores: Float64Array,
) -> None:
    """Refuse a description that says more, or other things, than follow from a detector's own images and scores.

    Args:
        support_scores: (n,), calibration_scores: (c,), held_out_scores: (h,), as in ``Detector``.

    Raises:
        ValueError: names, counts, thresholds, what they promise, or the AUROC do not follow.
    """
    _require_names(description)
    _require_fusion(description)
    _require_counts(description, images)
    _require_apart(images)
    synthetic = images.synthetic[images.rows("support")]
    natural_scores, synthetic_scores = support_scores[~synthetic], support_scores[synthetic]
    if not len(natural_scores) or not len(synthetic_scores):
        raise ValueError("its support lacks a class")
    _require_threshold(description.alarm, "above", held_out=calibration_scores, left_out=natural_scores)
    _require_threshold(description.clear, "below", held_out=held_out_scores, left_out=synthetic_scores)
    apart = len(calibration_scores) > 0 and len(held_out_scores) > 0
    if (description.held_out.kind == "held-out") != apart:
        raise ValueError("its AUROC is of other images than it holds")
    classes = (calibration_scores, held_out_scores) if apart else (natural_scores, synthetic_scores)
    _require_auroc(description.held_out, *classes)


def _require_names(description: Description) -> None:
    dropped = () if description.fusion is None else description.fusion.dropped
    names = [*(each.name for each in description.members), *(each.name for each in dropped)]
    if len(set(names)) < len(names):
        raise ValueError("two of its members have one name")
    named = chain(
        *((each.backbone, each.layer, *each.views, each.head) for each in description.members),
        *((each.backbone, each.layer, each.view) for each in dropped),
    )
    among = chain.from_iterable((each.backbone, each.layer, each.head) for each in description.candidates)
    if any(map(line_fault, (*named, *among))):
        raise ValueError("a backbone, layer, view or head has no name that fits a line")
    texts = (*(member.licence for member in description.members), *chain(*description.versions.items()))
    if not all(map(is_one_line, texts)):
        raise ValueError("a text has control characters")


def _require_fusion(description: Description) -> None:
    """Refuse members that are not the parts of one machine, and a version that is not the first that can hold them."""
    fusion, members = description.fusion, description.members
    if description.version != (2 if fusion is not None and fusion.dropped else 1):
        raise ValueError(f"it describes itself as of version {description.version}")
    if fusion is None:
        if any(member.weight is not None for member in members):
            raise ValueError("its members have weights, and none is fused")
        return
    weights = [member.weight or 0.0 for member in members]
    if min(weights) <= 0 or abs(sum(weights) - 1) > _ROUNDING:
        raise ValueError("the weights of its fused members do not add up to 1")
    counted = {(member.head, member.centre, member.scale) for member in members}
    if counted != {("svm", 0.0, 1 / len(members))}:
        raise ValueError("its fused members are not parts of one score")


def counts_of(images: KnownImages, role: Role) -> Counts:
    """Return how many images are in one role, by class and by source."""
    rows = images.rows(role)
    synthetic = int(images.synthetic[rows].sum())
    return Counts(len(rows) - synthetic, synthetic, images.counts(role))


def _require_counts(description: Description, images: KnownImages) -> None:
    roles: tuple[tuple[Role, Counts], ...] = (
        ("support", description.support),
        ("calibration", description.calibration),
        ("held-out", description.held_out_synthetic),
    )
    for role, said in roles:
        if said != counts_of(images, role):
            raise ValueError(f"it counts other images in the role {role!r} than it holds")


def _require_apart(images: KnownImages) -> None:
    support = set(images.ids[images.rows("support")])
    if support & {*images.ids[images.rows("calibration")], *images.ids[images.rows("held-out")]}:
        raise ValueError("images of its support are among those that certify")


def _require_threshold(said: Threshold, side: Side, *, held_out: Float64Array, left_out: Float64Array) -> None:
    """Refuse a threshold that is not the order statistic it says, or whose promise does not follow from it."""
    scores = held_out if said.kind == "certificate" else left_out
    sign = 1.0 if side == "above" else -1.0
    extreme = np.sort(sign * scores)[::-1]
    if said.side != side or said.images != len(scores) or said.beyond >= len(scores):
        raise ValueError(f"the threshold {side} counts other images than it holds")
    if said.value != sign * extreme[said.beyond]:
        raise ValueError(f"the threshold {side} does not follow from its scores")
    if (said.kind == "certificate") != (said.share is not None and said.confidence is not None):
        raise ValueError(f"the threshold {side} promises what its kind does not")
    if said.kind == "estimate" and (said.beyond or said.share is not None or said.confidence is not None):
        raise ValueError(f"the threshold {side} is an estimate and promises something")
    if said.share is None or said.confidence is None:
        return
    promised = 0 < said.share < 1 and 0 < said.confidence < 1
    if not promised or risk(len(scores), said.beyond, said.share) > 1 - said.confidence + _ROUNDING:
        raise ValueError(f"the threshold {side} promises more than {len(scores)} images can")


def _require_auroc(said: HeldOut, natural: Float64Array, synthetic: Float64Array) -> None:
    labels = np.repeat([False, True], [len(natural), len(synthetic)])
    auroc = Ranked.of(np.concatenate([natural, synthetic]), labels).auroc()
    counted = (said.natural, said.synthetic) == (len(natural), len(synthetic))
    if not counted or abs(auroc - said.auroc) > _ROUNDING:
        raise ValueError("its AUROC does not follow from its scores")
