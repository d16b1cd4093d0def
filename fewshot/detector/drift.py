"""Does the traffic of a detector still look like what it was calibrated on? Valid however often the log is looked at.

Under "no drift" the images of the log are drawn one by one as the calibration naturals were, but for a share that may
be synthetic. Three things are compared: how many are unknown, how many are flagged, and the distribution of scores. For
each, a bound from the calibration (a sample of fixed size) is compared with one of the log that holds at every look
(``stats/anytime.py``). Each of these six bounds may fail with a sixth of the level, so that any false drift, ever, has
at most the probability ``level``, over the draw of calibration and log.

Synthetic images score higher than naturals as a rule. A share of them explains scores that rose, and flags; it does not
explain scores that fell. Without calibration naturals the first images of the log are what the rest is compared with.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array
from fewshot.core.errors import OptionError
from fewshot.detector.audit_log import audit_entries
from fewshot.detector.detector import Detector
from fewshot.detector.traffic import Traffic, read_traffic
from fewshot.stats.anytime import FIRST_LOOK, KsLook, first_above, ks_looks, rate_at_most, rate_interval
from fewshot.stats.intervals import Interval

LEVEL = 0.05
OWN_REFERENCE = 100  # first images of the log that stand in for a calibration that is not there
_TESTS = 3
CALIBRATION, OWN = "calibration", "log"


@dataclass(frozen=True)
class RateDrift:
    """Whether a share of the traffic is larger than the reference allows.

    Args:
        count, images: how many of how many images; interval: of their share, which holds at every look.
        expected: the largest share that the reference and the synthetic share allow; None without a reference.
        reference_count, reference_images: what it comes from.
        found_at: after how many images (of those compared) drift was found first; None when it never was.
    """

    count: int
    images: int
    interval: Interval
    expected: float | None
    reference_count: int
    reference_images: int
    found_at: int | None


@dataclass(frozen=True)
class ScoreDrift:
    """Whether scores are distributed as those of the reference, by the Kolmogorov-Smirnov distance.

    Args:
        look: at the largest number of images that was looked at.
        higher_bound: what the distance stays below when scores rose no more than the synthetic share explains;
            ``look.bound`` is that of scores that fell.
        higher_at, lower_at: after how many images scores were found to have risen or fallen; None when never.
    """

    look: KsLook
    higher_bound: float
    higher_at: int | None
    lower_at: int | None


@dataclass(frozen=True)
class Drift:
    """What a log says of the traffic of a detector.

    Args:
        traffic: the images; reference: ``calibration``, ``log`` (its own first images), or empty: none.
        level: probability of finding drift where there is none, over all tests and looks.
        start: how many of the first images are not compared, because they are the reference.
        synthetic_share: of the traffic, that may be synthetic without counting as drift.
        unknown, alarms: images called unknown; images whose score lies above the alarm threshold.
        scores: None where there is no reference, or fewer than ten images to compare with it.
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
        """Whether any of the three was found to drift, at any time in the log."""
        return any(found is not None for found in self.found_at)

    @property
    def found_at(self) -> tuple[int | None, ...]:
        """Return after how many images unknown, alarms, higher and lower scores were found to drift."""
        scores = self.scores
        rates = (self.unknown.found_at, self.alarms.found_at)
        return rates if scores is None else (*rates, scores.higher_at, scores.lower_at)


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
    unknown, alarms = (
        _rate(outcomes[start:], count, reference, share=level / _TESTS, synthetic_share=synthetic_share)
        for outcomes, count in (
            (traffic.unknown, 0 if reference is None else reference.unknown),
            (flagged, 0 if reference is None else reference.alarms),
        )
    )
    return Drift(
        traffic=traffic,
        reference="" if reference is None else reference.name,
        level=level,
        synthetic_share=synthetic_share,
        start=start,
        unknown=unknown,
        alarms=alarms,
        scores=None
        if reference is None
        else _scores(reference, traffic.scores[start:], share=level / _TESTS, synthetic_share=synthetic_share),
    )


def _reference(detector: Detector, traffic: Traffic, flagged: BoolArray) -> _Reference | None:
    """Return what traffic is compared with; None where there is nothing yet."""
    alarm, scores = detector.description.alarm, detector.calibration_scores
    if alarm.kind == "certificate" and len(scores):
        # The threshold is one of these scores: so many may lie above it, and fewer do where scores are tied.
        above = max(alarm.beyond, int(np.sum(scores > alarm.value)))
        return _Reference(CALIBRATION, scores, unknown=_unknown_naturals(detector), alarms=above)
    if len(traffic) < OWN_REFERENCE + FIRST_LOOK:
        return None
    own = slice(OWN_REFERENCE)
    return _Reference(OWN, traffic.scores[own], unknown=int(traffic.unknown[own].sum()), alarms=int(flagged[own].sum()))


def _unknown_naturals(detector: Detector) -> int:
    """Return how many calibration naturals are unknown when each is looked up among all other known images."""
    images, nearest = detector.images, detector.nearest
    rows = images.rows("calibration", synthetic=False)
    found = nearest.look_up(images.features[nearest.key][rows], [str(name) for name in images.ids[rows]])
    return sum(unknown for *_, unknown in found)


def _rate(
    outcomes: BoolArray, expected_count: int, reference: _Reference | None, *, share: float, synthetic_share: float
) -> RateDrift:
    count, images = int(outcomes.sum()), len(outcomes)
    interval = rate_interval(count, images, level=share / 2)
    if reference is None:
        return RateDrift(count, images, interval, None, 0, 0, None)
    most = rate_at_most(expected_count, len(reference.scores), level=share / 2)
    expected = most + synthetic_share * (1 - most)
    found = first_above(outcomes, expected, level=share / 2)
    return RateDrift(count, images, interval, expected, expected_count, len(reference.scores), found)


def _scores(reference: _Reference, scores: Float64Array, *, share: float, synthetic_share: float) -> ScoreDrift | None:
    looks = ks_looks(reference.scores, scores, level=share)
    if not looks:
        return None
    return ScoreDrift(
        look=looks[-1],
        higher_bound=looks[-1].bound + synthetic_share,
        higher_at=next((look.images for look in looks if look.higher > look.bound + synthetic_share), None),
        lower_at=next((look.images for look in looks if look.lower > look.bound), None),
    )
