"""Verdicts as lines of a table on a terminal, each printed as it comes."""

from fewshot.detector.judgement import Judged, Judgement
from fewshot.detector.verdict import UNSURE

_LINE = "{:<9}  {:>9}  {:>11}  {:<24}  {}"
HEADER = _LINE.format("verdict", "score", "probability", "nearest source", "image")


def line(judged: Judged) -> str:
    """Return verdict, score, probability, nearest source and image; of a failure, why."""
    said = judged.judgement
    if said is None:
        return _LINE.format("failed", "-", "-", "-", f"{judged.image}: {judged.failure}")
    low, high = said.probability
    reason = f" ({said.reason})" if said.verdict == UNSURE and said.under else ""
    return _LINE.format(
        said.verdict, f"{said.score:.4g}", f"{low:.2f}-{high:.2f}", _nearest(said), f"{judged.image}{reason}"
    )


def _nearest(said: Judgement) -> str:
    """Return the nearest source; of an image unlike all known ones, that it is."""
    source = said.sources[0].source if said.sources else "-"
    return f"unknown ({source})" if said.unknown else source
