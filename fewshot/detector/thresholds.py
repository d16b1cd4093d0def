"""The two thresholds of a detector: certified on images that took no part in fitting, or estimated."""

import msgspec
import numpy as np

from fewshot.core.arrays import Float64Array
from fewshot.core.errors import OptionError
from fewshot.detector.certificate import certifiable, certify, images_needed, too_few
from fewshot.detector.description import Side, Threshold


def alarm_threshold(
    calibration: Float64Array, left_out: Float64Array, *, share: float, accept_weaker: bool
) -> Threshold:
    """Return the threshold above which ``synthetic`` is said.

    Args:
        calibration: (c,) scores of naturals that took no part in fitting; empty where none were given.
        left_out: (n,) scores of the support's naturals by heads that did not see them; never their own scores, which
            promise too much.
        share: largest share of false alarms; accept_weaker: the best share that can be certified does.

    Raises:
        OptionError: too few naturals for the share, with the arithmetic.
    """
    if not len(calibration):
        return _estimate(left_out, side="above")
    found = certify(calibration, share)
    if found is None and accept_weaker and (weaker := certifiable(len(calibration))) is not None:
        found = certify(calibration, weaker)
    if found is None:
        raise refusal(len(calibration), share)
    assert found.share is not None
    return msgspec.structs.replace(found, wanted=share) if found.share > share else found


def require_enough(naturals: int, share: float, *, accept_weaker: bool) -> None:
    """Refuse so many naturals where they are too few to certify what is wanted.

    Raises:
        OptionError: with the arithmetic.
    """
    best = certifiable(naturals)
    if naturals < images_needed(share) and not (accept_weaker and best is not None):
        raise refusal(naturals, share)


def refusal(naturals: int, share: float) -> OptionError:
    """Return the error of too few naturals for a share of false alarms: the arithmetic, and what to do next."""
    weaker = "" if certifiable(naturals) is None else ", or take the best that can be certified with --accept-weaker"
    return OptionError(
        f"--max-false-alarms: {too_few(naturals, share)}. Give more images by --naturals{weaker or ', or none at all'}"
    )


def clear_threshold(held_out: Float64Array, left_out: Float64Array, *, share: float) -> Threshold:
    """Return the threshold below which ``natural`` is said.

    Args:
        held_out: (h,) scores of synthetic images that took no part in fitting; too few of them promise nothing.
        left_out: (n,) scores of the support's synthetic images by heads that did not see them.
        share: largest share of misses.
    """
    found = certify(held_out, share, side="below") if len(held_out) else None
    return found or _estimate(left_out, side="below")


def _estimate(left_out: Float64Array, *, side: Side) -> Threshold:
    """Return the most extreme score of the support's images (n,) that were left out in turn: none lies beyond it."""
    value = float(np.max(left_out) if side == "above" else np.min(left_out))
    return Threshold(value=value, side=side, kind="estimate", images=len(left_out), beyond=0)


def promise(threshold: Threshold) -> str:
    """Return what a threshold promises, in a sentence.

    >>> promise(Threshold(value=0.0, side="above", kind="estimate", images=10, beyond=0))
    'no guarantee for false alarms: an estimate from 10 images of the support, each left out in turn'
    """
    errors = "false alarms" if threshold.side == "above" else "misses"
    if threshold.kind == "estimate" or threshold.share is None or threshold.confidence is None:
        counted = f"{threshold.images} images of the support, each left out in turn"
        return f"no guarantee for {errors}: an estimate from {counted}"
    what = "natural images like yours are flagged" if threshold.side == "above" else "such synthetic images are cleared"
    return (
        f"at this threshold at most {100 * threshold.share:g} of 100 {what} ({100 * threshold.confidence:g} % sure, "
        f"from {threshold.images})"
    )
