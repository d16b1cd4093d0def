"""Reread a detector wholly: whether its scores follow from its heads, and what it promises from its scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.arrays import Float64Array
from fewshot.core.errors import WeightsError
from fewshot.detector.certificate import certify
from fewshot.detector.consistency import counts_of
from fewshot.detector.cross_validation import left_out_scores
from fewshot.detector.description import Counts, Threshold
from fewshot.detector.detector import Detector, combined
from fewshot.detector.fitting import told_apart
from fewshot.detector.known_images import KnownImages, Role, known_scores
from fewshot.detector.thresholds import estimate
from fewshot.detector.venn_abers import VennAbers

TOLERANCE = 1e-6  # of scores, and relative to those beyond 1
_FAR = 1e-3  # in spreads of the support's scores: more than heads trained by steps differ between machines


@dataclass(frozen=True)
class DetectorVerification:
    """What a rereading found.

    Args:
        images: how many it holds; members: how many heads; bytes_read: size of the file.
        problems: what is wrong, in sentences; notes: what is not, and yet worth knowing.
    """

    path: Path
    images: int
    members: int
    bytes_read: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "path": str(self.path), "sound": self.sound}

    def require_sound(self) -> None:
        """Raise when something is wrong.

        Raises:
            WeightsError: the message lists every problem.
        """
        if not self.sound:
            raise WeightsError(
                f"{self.path} cannot be trusted: {'; '.join(self.problems)}. Restore it from a copy, or fit it again"
            )


def verify_detector(path: Path | str) -> DetectorVerification:
    """Reread a detector: its digest and every array, then all that can be computed again from what it holds.

    The heads score the stored features again; thresholds, probabilities, counts and AUROC are derived again from the
    stored scores; the support's scores are cross-validated again.

    Raises:
        InputError, WeightsError: as ``Detector.load``; digest and arrays are checked there.
    """
    detector = Detector.load(path)
    where = Path(path).expanduser()
    again = _left_out(detector)
    gap = _gap(again, detector.support_scores)
    problems = [
        *_scores(detector),
        *([_unlike("the support's scores, cross-validated again,", gap)] if gap > _far(detector) else []),
        *_thresholds(detector),
        *_derived(detector),
        *_roles(detector.images),
    ]
    notes = []
    if TOLERANCE < gap <= _far(detector):
        notes.append(
            f"the support's scores, cross-validated again, differ by up to {gap:.2g}, as heads do that are trained by "
            f"steps on another machine"
        )
    members = len(detector.description.members)
    return DetectorVerification(
        where, len(detector.images), members, where.stat().st_size, tuple(problems), tuple(notes)
    )


def _scores(detector: Detector) -> Iterator[str]:
    """Yield where the heads do not give the scores that are stored."""
    roles: tuple[tuple[Role, bool, Float64Array], ...] = (
        ("calibration", False, detector.calibration_scores),
        ("held-out", True, detector.held_out_scores),
    )
    for role, synthetic, stored in roles:
        part = detector.images.take(detector.images.rows(role, synthetic=synthetic))
        if len(part) and (gap := _gap(detector.score(part.features)[0], stored)) > TOLERANCE:
            yield _unlike(f"the scores of its {role} images, computed again by its heads,", gap)


def _left_out(detector: Detector) -> Float64Array:
    """Return the support's scores, each image left out in turn, as the fit computed them."""
    support = detector.images.take(detector.images.rows("support"))
    own = {}
    for member, head in zip(detector.description.members, detector.heads, strict=True):
        seen = {view: support.features[member.backbone, member.layer, view] for view in member.views}
        prepared = head.prepare(seen, normalised=member.normalised, what=f"layer {member.layer!r}")
        own[member.name] = left_out_scores(head.unfitted(), prepared, support.synthetic)
    return combined(detector.description.members, own)


def _thresholds(detector: Detector) -> Iterator[str]:
    """Yield which threshold does not follow from the stored scores."""
    described = detector.description
    synthetic = detector.images.synthetic[detector.images.rows("support")]
    for name, threshold, held_out, left_out in (
        ("false alarms", described.alarm, detector.calibration_scores, detector.support_scores[~synthetic]),
        ("misses", described.clear, detector.held_out_scores, detector.support_scores[synthetic]),
    ):
        found = _again(threshold, held_out, left_out)
        if found is None or _promise(found) != _promise(threshold) or _far_off(found.value, threshold.value):
            yield f"its threshold for {name}, and what it promises, does not follow from the scores that it holds"


def _again(threshold: Threshold, held_out: Float64Array, left_out: Float64Array) -> Threshold | None:
    if threshold.kind == "estimate":
        return estimate(left_out, side=threshold.side) if len(left_out) else None
    if threshold.share is None or threshold.confidence is None or not 0 < threshold.share < 1:
        return None
    return certify(held_out, threshold.share, side=threshold.side, confidence=threshold.confidence)


def _promise(threshold: Threshold) -> tuple[Any, ...]:
    return (threshold.side, threshold.kind, threshold.images, threshold.beyond, threshold.share, threshold.confidence)


def _derived(detector: Detector) -> Iterator[str]:
    """Yield what else does not follow from the stored scores, images and features."""
    described, images = detector.description, detector.images
    support = images.take(images.rows("support"))
    roles: tuple[tuple[str, Counts, Role], ...] = (
        ("support", described.support, "support"),
        ("calibration", described.calibration, "calibration"),
        ("held-out", described.held_out_synthetic, "held-out"),
    )
    for name, stated, role in roles:
        if counts_of(images, role) != stated:
            yield f"it says of its {name} images other counts than it holds"
    if support.synthetic.all() or not support.synthetic.any():
        yield "its support has one class only"
        return
    if not _same_intervals(detector.probability, VennAbers.fit(detector.support_scores, support.synthetic)):
        yield "its probabilities do not follow from the support's scores"
    told = told_apart(detector.calibration_scores, detector.held_out_scores, detector.support_scores, support)
    if told.kind != described.held_out.kind or _far_off(told.auroc, described.held_out.auroc):
        yield "its AUROC does not follow from the scores that it holds"
    known = known_scores(images, detector.nearest.key, seed=described.seed).scores
    if known.shape != detector.known.scores.shape or _gap(known, detector.known.scores) > TOLERANCE:
        yield "how near its images lie to each other does not follow from their features"


def _roles(images: KnownImages) -> Iterator[str]:
    """Yield where an image takes part in fitting and in certifying."""
    support = {str(images.ids[row]) for row in images.rows("support")}
    certifying: tuple[Role, ...] = ("calibration", "held-out")
    for role in certifying:
        shared = sum(str(images.ids[row]) in support for row in images.rows(role))
        if shared:
            yield f"{shared} of its {role} images are in the support as well, so that they certify nothing"


def _same_intervals(one: VennAbers, other: VennAbers) -> bool:
    pairs = ((one.scores, other.scores), (one.low, other.low), (one.high, other.high))
    return all(mine.shape == theirs.shape and _gap(mine, theirs) <= TOLERANCE for mine, theirs in pairs)


def _gap(found: Float64Array, stored: Float64Array) -> float:
    """Return the largest difference of two lists of scores, relative where they are beyond 1; 0 of empty ones."""
    if found.shape != stored.shape:
        return float("inf")
    return float(np.max(np.abs(found - stored) / np.maximum(np.abs(stored), 1.0), initial=0.0))


def _far(detector: Detector) -> float:
    return max(TOLERANCE, _FAR * max(member.scale for member in detector.description.members))


def _far_off(found: float, stored: float) -> bool:
    return abs(found - stored) > TOLERANCE * max(abs(stored), 1.0)


def _unlike(what: str, gap: float) -> str:
    return f"{what} differ from those stored by up to {gap:.2g}, and {TOLERANCE:g} is allowed"
