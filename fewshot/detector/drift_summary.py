"""What drift was found and what follows from it: in lines, and as JSON."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fewshot.detector.drift import CALIBRATION, OWN, OWN_REFERENCE, Drift, Finding, RateDrift
from fewshot.detector.traffic import Traffic
from fewshot.stats.anytime import SMALLEST_BLOCK

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
    f"{OWN_REFERENCE + SMALLEST_BLOCK} images."
)


def to_json(found: Drift) -> dict[str, Any]:
    """Return what was found as JSON values; images are counted from 1."""
    traffic, scores = found.traffic, found.scores
    return {
        "drifting": found.drifting,
        "images": len(traffic),
        "repeated": traffic.repeated,
        "other_detectors": traffic.others,
        "first": traffic.times[0],
        "last": traffic.times[-1],
        "reference": found.reference,
        "compared_from": found.start + 1,
        "level": found.level,
        "synthetic_share": found.synthetic_share,
        "unknown": _rate_json(found.unknown, traffic),
        "alarms": _rate_json(found.alarms, traffic),
        "scores": None
        if scores is None
        else {
            "risen": {"distance": scores.risen, "found": _findings_json(scores.higher, traffic)},
            "fallen": {"distance": scores.fallen, "found": _findings_json(scores.lower, traffic)},
        },
        "conclusions": conclusions(found),
    }


def lines(found: Drift, *, log: str) -> list[str]:
    """Return what was found, a line each."""
    traffic, scores = found.traffic, found.scores
    left_out = f"; left out: {traffic.repeated} repeated, {traffic.others} of other detectors"
    return [
        f"{log}: {len(traffic)} images of this detector, {traffic.times[0]} to {traffic.times[-1]}{left_out}",
        f"compared with  {_reference(found)}",
        *_rate("unknown", found.unknown, traffic),
        *_rate("alarms", found.alarms, traffic),
        *([] if scores is None else _scores("scores risen", scores.risen, scores.higher, traffic)),
        *([] if scores is None else _scores("scores fallen", scores.fallen, scores.lower, traffic)),
        *conclusions(found),
        f"Drift is found where there is none with at most {100 * found.level:g} % probability, over all comparisons "
        f"and however often the log is looked at, if images come independently of each other.",
    ]


def conclusions(found: Drift) -> list[str]:
    """Return what can be concluded, and what cannot, in sentences."""
    if not found.drifting:
        return [_NONE if found.reference else _NOT_YET]
    scores = found.scores
    said = [_CHANGED]
    if found.alarms.findings or (scores is not None and scores.higher):
        said.append(_MORE)
    if scores is not None and scores.lower:
        said.append(_FELL if found.reference == CALIBRATION else _FELL_OWN)
    if found.unknown.findings:
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


def _rate(name: str, found: RateDrift, traffic: Traffic) -> Iterator[str]:
    share = found.count / found.images if found.images else 0.0
    interval = f"{_percent(found.interval.low)} to {_percent(found.interval.high)}"
    said = f"{name:<14} {found.count} of {found.images} = {_percent(share)} ({interval} at every look)"
    if found.expected is None:
        yield said
        return
    counted = f"{found.reference_count} of {found.reference_images}"
    yield f"{said}; at most {_percent(found.expected)} expected, from {counted}: {_found(found.findings)}"
    yield from (_finding(one, _percent, traffic) for one in _shown(found.findings))


def _scores(name: str, distance: float, findings: Sequence[Finding], traffic: Traffic) -> Iterator[str]:
    yield f"{name:<14} Kolmogorov-Smirnov distance {distance:.3f}: {_found(findings)}"
    yield from (_finding(one, "{:.3f}".format, traffic) for one in _shown(findings))


def _found(findings: Sequence[Finding]) -> str:
    return "DRIFT" if findings else "no drift found"


def _shown(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Return the first and the last of them."""
    return findings if len(findings) < 2 else (findings[0], findings[-1])


def _finding(found: Finding, number: Callable[[float], str], traffic: Traffic) -> str:
    return (
        f"               images {found.start + 1} to {found.stop}, until {traffic.times[found.stop - 1]}: "
        f"{number(found.value)}, at most {number(found.bound)} expected"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rate_json(found: RateDrift, traffic: Traffic) -> dict[str, Any]:
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
        "found": _findings_json(found.findings, traffic),
    }


def _findings_json(findings: Sequence[Finding], traffic: Traffic) -> list[dict[str, Any]]:
    """Return the first and the last block in which drift was found."""
    return [
        {
            "from": found.start + 1,
            "to": found.stop,
            "until": traffic.times[found.stop - 1],
            "value": found.value,
            "expected_at_most": found.bound,
        }
        for found in _shown(findings)
    ]
