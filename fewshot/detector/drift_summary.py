"""What drift was found and what follows from it: in lines, and as JSON."""

from dataclasses import asdict
from typing import Any

from fewshot.detector.drift import CALIBRATION, OWN, OWN_REFERENCE, Drift, RateDrift, ScoreDrift
from fewshot.stats.anytime import FIRST_LOOK

_CHANGED = "The traffic has changed; whether natural images have cannot be told from a log without labels."
_MORE = (
    "More images score high: more synthetic images explain that as well as other natural ones do. Label some "
    "(`fewshot suggest`); --synthetic-share says how many are expected."
)
_FELL = (
    "More images score low, which more synthetic images do not explain where they score higher than natural ones: the "
    "natural traffic is another, or is processed differently."
)
_FELL_OWN = (
    "More images score low than at the beginning: fewer synthetic images explain that as well as other natural ones do."
)
_UNLIKE = (
    "More images are unlike every known one: a new generator, or another kind of natural images. Label some "
    "(`fewshot suggest`) and add them with `fewshot fit --from`."
)
_NO_PROMISE = "Until then the certified false-alarm rate is not promised for this traffic."
_NONE = "No drift was found. That is no proof that there is none: small changes need many images to be seen."
_NOT_YET = (
    f"Nothing can be compared yet: the detector has no calibration naturals, and the log has fewer than "
    f"{OWN_REFERENCE + FIRST_LOOK} images."
)


def to_json(found: Drift) -> dict[str, Any]:
    """Return what was found as JSON values."""
    traffic = found.traffic
    return {
        "drifting": found.drifting,
        "images": len(traffic),
        "repeated": traffic.repeated,
        "other_detectors": traffic.others,
        "first": traffic.first,
        "last": traffic.last,
        "reference": found.reference,
        "compared_from": found.start,
        "level": found.level,
        "synthetic_share": found.synthetic_share,
        "unknown": _rate_json(found.unknown),
        "alarms": _rate_json(found.alarms),
        "scores": None if found.scores is None else _scores_json(found.scores),
        "conclusions": conclusions(found),
    }


def lines(found: Drift, *, log: str) -> list[str]:
    """Return what was found, a line each."""
    traffic = found.traffic
    left_out = f"; left out: {traffic.repeated} repeated, {traffic.others} of other detectors"
    return [
        f"{log}: {len(traffic)} images of this detector, {traffic.first} to {traffic.last}{left_out}",
        f"compared with  {_reference(found)}",
        f"unknown        {_rate(found.unknown)}",
        f"alarms         {_rate(found.alarms)}",
        f"scores         {_scores(found)}",
        *conclusions(found),
        f"Drift is found where there is none with at most {100 * found.level:g} % probability, over all three "
        f"comparisons and however often the log is looked at, if images come independently of each other.",
    ]


def conclusions(found: Drift) -> list[str]:
    """Return what can be concluded, and what cannot, in sentences."""
    if not found.drifting:
        return [_NONE if found.reference else _NOT_YET]
    scores = found.scores
    said = [_CHANGED]
    if found.alarms.found_at is not None or (scores is not None and scores.higher_at is not None):
        said.append(_MORE)
    if scores is not None and scores.lower_at is not None:
        said.append(_FELL if found.reference == CALIBRATION else _FELL_OWN)
    if found.unknown.found_at is not None:
        said.append(_UNLIKE)
    return [*said, _NO_PROMISE] if found.reference == CALIBRATION else said


def _reference(found: Drift) -> str:
    share = f", and up to {100 * found.synthetic_share:g} % synthetic images" if found.synthetic_share else ""
    if found.reference == CALIBRATION:
        return f"the {found.alarms.reference_images} calibration naturals of the detector{share}"
    no_scores = "the detector has no calibration, so that scores cannot be compared with one"
    if found.reference == OWN:
        return f"the first {found.start} images of the log{share}: {no_scores}"
    return f"nothing yet: {no_scores}"


def _rate(found: RateDrift) -> str:
    share = found.count / found.images if found.images else 0.0
    low, high = found.interval.low, found.interval.high
    said = f"{found.count} of {found.images} = {_percent(share)} ({_percent(low)} to {_percent(high)})"
    if found.expected is None:
        return said
    counted = f"{found.reference_count} of {found.reference_images}"
    return f"{said}, expected at most {_percent(found.expected)} (from {counted}): {_when(found.found_at)}"


def _scores(found: Drift) -> str:
    scores = found.scores
    if scores is None:
        return f"not compared: fewer than {FIRST_LOOK} images" if found.reference else "not compared"
    look = scores.look
    rose = f"risen by {look.higher:.3f} (at most {scores.higher_bound:.3f} expected): {_when(scores.higher_at)}"
    fell = f"fallen by {look.lower:.3f} (at most {look.bound:.3f} expected): {_when(scores.lower_at)}"
    return f"Kolmogorov-Smirnov distance after {look.images} images, {rose}; {fell}"


def _when(found_at: int | None) -> str:
    return "no drift" if found_at is None else f"DRIFT, found after {found_at} images"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rate_json(found: RateDrift) -> dict[str, Any]:
    return {
        "count": found.count,
        "images": found.images,
        "share": found.count / found.images if found.images else None,
        "low": found.interval.low,
        "high": found.interval.high,
        "confidence": found.interval.confidence,
        "expected_at_most": found.expected,
        "reference_count": found.reference_count,
        "reference_images": found.reference_images,
        "found_at": found.found_at,
    }


def _scores_json(found: ScoreDrift) -> dict[str, Any]:
    return {**asdict(found.look), **{name: value for name, value in asdict(found).items() if name != "look"}}
