"""Reread a detector wholly: whether its scores follow from its heads, and what it promises from its scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import WeightsError
from fewshot.detector.cross_validation import left_out_scores
from fewshot.detector.detector import Detector
from fewshot.detector.fusing import fused_head, side_by_side
from fewshot.detector.known_images import KnownImages, Role, known_scores
from fewshot.detector.scores import combined, prepared, prepared_of
from fewshot.detector.venn_abers import VennAbers
from fewshot.heads.fused import Fused

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

    Loading derives counts, thresholds, what they promise and the AUROC from the stored scores. Here the heads score the
    stored features again, the support's scores are cross-validated again, and probabilities and nearness are derived.

    Raises:
        InputError, WeightsError: as ``Detector.load``.
    """
    detector = Detector.load(path)
    where = Path(path).expanduser()
    again = _left_out(detector)
    gap = _gap(again, detector.support_scores)
    problems = [
        *_scores(detector),
        *([_unlike("the support's scores, cross-validated again,", gap)] if gap > _far(detector) else []),
        *_weights(detector),
        *_derived(detector),
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
    if detector.description.fusion is not None:
        machine, features = _machine(detector, support)
        return left_out_scores(machine, features, support.synthetic)
    own = {}
    for member, head in zip(detector.description.members, detector.heads, strict=True):
        features = prepared_of(member, head, support.features)
        own[member.name] = left_out_scores(head.unfitted(), features, support.synthetic)
    return combined(detector.description.members, own)


def _machine(detector: Detector, support: KnownImages) -> tuple[Fused, FloatArray]:
    """Return the unfitted machine of a fusion, those without weight included, and what it takes of the support."""
    fusion = detector.description.fusion
    assert fusion is not None
    members = zip(detector.description.members, detector.heads, strict=True)
    blocks = [prepared_of(member, head, support.features) for member, head in members]
    head = detector.heads[0]
    for each in fusion.dropped:
        rows = detector.dropped[each.backbone, each.layer, each.view]
        seen = {(each.backbone, each.layer, head.views[0]): rows}
        blocks.append(prepared(head, seen, backbone=each.backbone, layer=each.layer, normalised=each.normalised))
    return fused_head([head], [block.shape[1] for block in blocks], weigh=fusion.weigh), side_by_side(blocks)


def _weights(detector: Detector) -> Iterator[str]:
    """Yield whether the weights of a fusion are not those that its support gives."""
    if detector.description.fusion is None:
        return
    support = detector.images.take(detector.images.rows("support"))
    machine, features = _machine(detector, support)
    found = machine.fit(features, support.synthetic.astype(np.int64)).weights_
    stored = np.zeros(len(found))
    stored[: len(detector.heads)] = list(detector.description.weights.values())
    if (gap := _gap(found, stored)) > TOLERANCE:
        yield _unlike("the weights of its members, found again inside the support,", gap)


def _derived(detector: Detector) -> Iterator[str]:
    """Yield what does not follow from the stored scores and features, beside what loading checks."""
    images = detector.images
    synthetic = images.synthetic[images.rows("support")]
    if not _same_intervals(detector.probability, VennAbers.fit(detector.support_scores, synthetic)):
        yield "its probabilities do not follow from the support's scores"
    known = known_scores(images, detector.nearest.key, seed=detector.description.seed).scores
    if known.shape != detector.known.scores.shape or _gap(known, detector.known.scores) > TOLERANCE:
        yield "how near its images lie to each other does not follow from their features"


def _same_intervals(one: VennAbers, other: VennAbers) -> bool:
    pairs = ((one.scores, other.scores), (one.low, other.low), (one.high, other.high))
    return all(mine.shape == theirs.shape and _gap(mine, theirs) <= TOLERANCE for mine, theirs in pairs)


def _gap(found: Float64Array, stored: Float64Array) -> float:
    """Return the largest difference of two lists of scores, relative where they are beyond 1; 0 of empty ones."""
    if found.shape != stored.shape:
        return float("inf")
    return float(np.max(np.abs(found - stored) / np.maximum(np.abs(stored), 1.0), initial=0.0))


def _far(detector: Detector) -> float:
    described = detector.description
    scales = [described.spread] if described.fusion else [member.scale for member in described.members]
    return max(TOLERANCE, _FAR * max(scales))


def _unlike(what: str, gap: float) -> str:
    return f"{what} differ from those stored by up to {gap:.2g}, and {TOLERANCE:g} is allowed"
