"""Does the traffic of a detector still look like what it was calibrated on? Valid however often the log is looked at.

Under "no drift" the images of the log are drawn one by one as the calibration naturals were, but for a share that may
be synthetic. Three things are compared: how many are unknown, how many are flagged, and the distribution of scores. For
each, a bound from the calibration (a sample of fixed size) is compared with one from the log that holds for all blocks
of images, of all sizes, at every look (``stats/anytime.py``). Each of these six bounds may fail with a sixth of the
level, so that any false drift, ever, has at most the probability ``level``, over the draw of calibration and log.

Synthetic images score higher than naturals as a rule. A share of them explains scores that rose, and flags; it does not
explain scores that fell. Without calibration naturals the first images of the log are what the rest is compared with.
Calibration naturals count as unknown when they are so with each left out in turn, as if these were independent.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array
from fewshot.core.errors import OptionError
from fewshot.detector.audit_log import audit_entries
from fewshot.detector.detector import Detector
from fewshot.detector.traffic import Traffic, read_traffic
from fewshot.stats.anytime import (
    SMALLEST_BLOCK,
    Blocks,
    blocks_above,
    dkw_bound,
    full_blocks,
    ks_distances,
    rate_at_most,
    rate_interval,
)
from fewshot.stats.intervals import Interval

LEVEL = 0.05
OWN_REFERENCE = 100  # first images of the log that stand in for a calibration that is not there
_TESTS = 3
CALIBRATION, OWN = "calibration", "log"


@dataclass(frozen=True)
class Finding:
    """Drift in some consecutive images.

    Args:
        start, stop: which of the traffic's images, from 0; ``stop`` is not one of them.
        value: the share, or the distance, that was found; bound: the largest that is expected.
    """

    start: int
    stop: int
    value: float
    bound: float


@dataclass(frozen=True)
class RateDrift:
    """Whether a share of the traffic is larger than the reference allows.

    Args:
        count, images: how many of how many images that were compared; interval: of their share, at every look.
        expected: the largest share that the reference and the synthetic share allow; None without a reference.
        reference_count, reference_images: what it comes from.
        findings: every block of images in which it is larger, in the order in which they filled.
    """

    count: int
    images: int
    interval: Interval
    expected: float | None
    reference_count: int
    reference_images: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ScoreDrift:
    """Whether scores are distributed as those of the reference, by the Kolmogorov-Smirnov distance.

    Args:
        risen, fallen: distances of all images that were compared.
        higher, lower: blocks of images whose scores rose by more than the synthetic share explains, and fell.
    """

    risen: float
    fallen: float
    higher: tuple[Finding, ...]
    lower: tuple[Finding, ...]


@dataclass(frozen=True)
class Drift:
    """What a log says of the traffic of a detector.

    Args:
        traffic: the images; reference: ``calibration``, ``log`` (its own first images), or empty: none.
        level: probability of finding drift where there is none, over all tests and looks.
        synthetic_share: of the traffic, that may be synthetic without counting as drift.
        start: how many of the first images are not compared, because they are the reference.
        unknown, alarms: images called unknown; images whose score lies above the alarm threshold.
        scores: None where there is no reference.
    """

    traffic: Traffic
    reference: str
    level: float
    synthetic_share: float
    start: int
    unknown: RateDrift
    alarms: RateDrift
    scores: ScoreDrift | None

    @property
    def drifting(self) -> bool:
        """Whether drift was found, at any time in the log."""
        return bool(self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found."""
        scores = self.scores
        more = () if scores is None else scores.higher + scores.lower
        return self.unknown.findings + self.alarms.findings + more


@dataclass(frozen=True)
class _Reference:
    """What traffic is compared with.

    Args:
        name: as in ``Drift``; scores: (n,); unknown: how many of them are unknown.
        alarms: how many may lie above the alarm threshold.
    """

    name: str
    scores: Float64Array
    unknown: int
    alarms: int


def drift(detector: Detector, log: Path | str, *, level: float = LEVEL, synthetic_share: float = 0.0) -> Drift:
    """Return whether the traffic that an audit log records still looks like the calibration of its detector.

    Args:
        log: what ``fewshot predict --log`` wrote; entries of other detectors are left out and counted.
        level: as in ``Drift``; synthetic_share: likewise.

    Raises:
        InputError: the log cannot be read, has no entry of this detector, or one that this detector cannot have given.
        OptionError: level or synthetic share cannot be used.
    """
    if not 0 < level < 1:
        raise OptionError(f"--level must lie above 0 and below 100 %, for example 5%, not {100 * level:g} %")
    if not 0 <= synthetic_share < 1:
        raise OptionError(
            f"--synthetic-share must be at least 0 and below 100 %, for example 10%, not {100 * synthetic_share:g} %"
        )
    traffic = read_traffic(detector, audit_entries(log), where=str(log))
    return compare(detector, traffic, level=level, synthetic_share=synthetic_share)


def compare(detector: Detector, traffic: Traffic, *, level: float, synthetic_share: float) -> Drift:
    """Return the comparison of traffic with the calibration of its detector, or with its own beginning."""
    flagged = traffic.scores > detector.description.alarm.value
    reference = _reference(detector, traffic, flagged)
    start = OWN_REFERENCE if reference is not None and reference.name == OWN else 0
    comparison = _Comparison(reference, start, level, synthetic_share, full_blocks(len(traffic) - start))
    return Drift(
        traffic=traffic,
        reference="" if reference is None else reference.name,
        level=level,
        synthetic_share=synthetic_share,
        start=start,
        unknown=comparison.rate(traffic.unknown, 0 if reference is None else reference.unknown),
        alarms=comparison.rate(flagged, 0 if reference is None else reference.alarms),
        scores=comparison.scores(traffic.scores),
    )


@dataclass(frozen=True)
class _Comparison:
    """Traffic from image ``start`` on against a reference, block by block."""

    reference: _Reference | None
    start: int
    level: float
    synthetic_share: float
    blocks: Blocks

    @property
    def half(self) -> float:
        """The level of each of the six bounds."""
        return self.level / (2 * _TESTS)

    def rate(self, outcomes: BoolArray, reference_count: int) -> RateDrift:
        compared = outcomes[self.start :]
        count, images = int(compared.sum()), len(compared)
        interval = rate_interval(count, images, level=self.level)
        if self.reference is None:
            return RateDrift(count, images, interval, None, 0, 0, ())
        known = len(self.reference.scores)
        most = rate_at_most(reference_count, known, level=self.half)
        expected = most + self.synthetic_share * (1 - most)
        above = blocks_above(compared, expected, self.blocks, level=self.half)
        findings = tuple(
            self._finding(block, float(compared[self._slice(block)].mean()), expected)
            for block in np.flatnonzero(above).tolist()
        )
        return RateDrift(count, images, interval, expected, reference_count, known, findings)

    def scores(self, scores: Float64Array) -> ScoreDrift | None:
        if self.reference is None or len(scores) == self.start:
            return None
        compared, reference = scores[self.start :], np.sort(self.reference.scores)
        bounds = dkw_bound(len(reference), self.half) + dkw_bound(self.blocks.size, self.half * self.blocks.share)
        higher, lower = [], []
        for block, bound in enumerate(bounds.tolist()):
            risen, fallen = ks_distances(reference, compared[self._slice(block)])
            if risen > bound + self.synthetic_share:
                higher.append(self._finding(block, risen, bound + self.synthetic_share))
            if fallen > bound:
                lower.append(self._finding(block, fallen, bound))
        return ScoreDrift(*ks_distances(reference, compared), tuple(higher), tuple(lower))

    def _slice(self, block: int) -> slice:
        return slice(int(self.blocks.start[block]), int(self.blocks.stop[block]))

    def _finding(self, block: int, value: float, bound: float) -> Finding:
        where = self._slice(block)
        return Finding(self.start + where.start, self.start + where.stop, value, bound)


def _reference(detector: Detector, traffic: Traffic, flagged: BoolArray) -> _Reference | None:
    """Return what traffic is compared with; None where there is nothing yet."""
    alarm, scores = detector.description.alarm, detector.calibration_scores
    if alarm.kind == "certificate" and len(scores):
        # The threshold is one of these scores: so many may lie above it, and fewer do where scores are tied.
        above = max(alarm.beyond, int(np.sum(scores > alarm.value)))
        return _Reference(CALIBRATION, scores, unknown=_unknown_naturals(detector), alarms=above)
    if len(traffic) < OWN_REFERENCE + SMALLEST_BLOCK:
        return None
    own = slice(OWN_REFERENCE)
    return _Reference(OWN, traffic.scores[own], unknown=int(traffic.unknown[own].sum()), alarms=int(flagged[own].sum()))


def _unknown_naturals(detector: Detector) -> int:
    """Return how many calibration naturals are unknown when each is looked up among all other known images."""
    images, nearest = detector.images, detector.nearest
    rows = images.rows("calibration", synthetic=False)
    found = nearest.look_up(images.features[nearest.key][rows], [str(name) for name in images.ids[rows]])
    return sum(each.unknown for each in found)
