"""From a score to one of three verdicts, by two one-sided thresholds."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import FloatArray

Verdict = Literal["synthetic", "natural", "unsure"]
SYNTHETIC, NATURAL, UNSURE = "synthetic", "natural", "unsure"


def verdicts(scores: FloatArray, *, alarm: float, clear: float) -> NDArray[np.str_]:
    """Return the verdict of each score: (M,) text.

    ``synthetic`` is said above both thresholds, ``natural`` below both, and ``unsure`` between them, whichever is the
    higher one: fewer images are flagged than the alarm threshold allows, and fewer cleared than the other one does.

    Args:
        scores: (M,); larger is more likely synthetic. NaN is unsure.
        alarm: naturals lie above it at most as often as promised.
        clear: synthetic images lie below it at most as often as promised.

    >>> verdicts(np.array([-2.0, 0.0, 2.0]), alarm=1.0, clear=-1.0).tolist()
    ['natural', 'unsure', 'synthetic']
    """
    scores = np.asarray(scores, dtype=np.float64)
    flagged = (scores > alarm) & (scores >= clear)
    cleared = (scores < clear) & (scores <= alarm)
    return np.where(flagged, SYNTHETIC, np.where(cleared, NATURAL, UNSURE))
