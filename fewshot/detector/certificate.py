"""A threshold with a promise: with 95 % confidence at most a share alpha of further images of one class lie beyond it.

The promise is that of order statistics and holds for every distribution of scores, ties included. Let n held-out images
be drawn as the traffic is, and let the threshold be their (k+1)-th most extreme score; an image counts as beyond when
its score is strictly more extreme. The share of traffic beyond then exceeds alpha with probability at most
P(Binomial(n, alpha) <= k). The largest k with P <= 5 % is taken (Wilks 1941, one-sided tolerance limits).
"""

from functools import cache
from math import ceil, log

import numpy as np

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import OptionError
from fewshot.detector.description import Side, Threshold

CONFIDENCE = 0.95
WEAKER = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)  # shares that --accept-weaker tries, in this order


def images_needed(share: float, *, confidence: float = CONFIDENCE) -> int:
    """Return how many held-out images certify ``share`` when none of them may lie beyond the threshold.

    >>> [images_needed(share) for share in (0.1, 0.05, 0.01)]
    [29, 59, 299]
    """
    _require_share(share)
    return ceil(log(1 - confidence) / log(1 - share))


@cache
def allowed_beyond(images: int, share: float, *, confidence: float = CONFIDENCE) -> int | None:
    """Return the largest k with P(Binomial(images, share) <= k) <= 1 - confidence; None where even k = 0 is too many.

    >>> [allowed_beyond(n, 0.05) for n in (58, 59, 93, 100, 500)]
    [None, 0, 1, 1, 16]
    """
    from scipy.special import bdtr  # scipy.stats takes far longer to import

    _require_share(share)
    risks = bdtr(np.arange(images), images, share)  # ascending
    allowed = int(np.searchsorted(risks, 1 - confidence, side="right"))
    return allowed - 1 if allowed else None


def risk(images: int, beyond: int, share: float) -> float:
    """Return P(Binomial(images, share) <= beyond), the most probable that more than ``share`` lies beyond after all.

    >>> round(risk(59, 0, 0.05), 4)
    0.0485
    """
    from scipy.special import bdtr

    return float(bdtr(beyond, images, share))


def certify(
    scores: FloatArray, share: float, *, side: Side = "above", confidence: float = CONFIDENCE
) -> Threshold | None:
    """Return the certified threshold of held-out images of one class, None where they are too few for ``share``.

    Args:
        scores: (n,) finite; of images that took no part in fitting, nor in any choice.
        share: the largest share of traffic beyond the threshold, between 0 and 1.
        side: which side of the threshold counts.

    Raises:
        OptionError: the share is not between 0 and 1.
        ValueError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores of held-out images must be finite")
    beyond = allowed_beyond(len(scores), share, confidence=confidence)
    if beyond is None:
        return None
    sign = 1.0 if side == "above" else -1.0
    extreme = np.sort(sign * np.asarray(scores, dtype=np.float64))[::-1]
    return Threshold(
        value=sign * float(extreme[beyond]),
        side=side,
        kind="certificate",
        images=len(scores),
        beyond=beyond,
        share=share,
        confidence=confidence,
    )


def certifiable(images: int, *, confidence: float = CONFIDENCE) -> float | None:
    """Return the smallest share of ``WEAKER`` that so many images certify, None where they certify none.

    >>> certifiable(80), certifiable(30), certifiable(3)
    (0.05, 0.1, None)
    """
    return next((share for share in WEAKER if images_needed(share, confidence=confidence) <= images), None)


def too_few(images: int, share: float, *, confidence: float = CONFIDENCE) -> str:
    """Return the arithmetic of a refusal.

    >>> too_few(80, 0.01)
    '1 % needs 299, you gave 80; 5 % can be certified'
    """
    best = certifiable(images, confidence=confidence)
    instead = "nothing can be certified" if best is None else f"{100 * best:g} % can be certified"
    return f"{100 * share:g} % needs {images_needed(share, confidence=confidence)}, you gave {images}; {instead}"


def _require_share(share: float) -> None:
    if not 0 < share < 1:
        raise OptionError(f"a share of {share:g} cannot be certified; give one between 0 and 100 %, for example 5%")
