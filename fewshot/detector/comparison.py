"""A detector and its successor on the same labelled images that neither has seen: which is better, and how sure."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array
from fewshot.core.errors import InputError
from fewshot.detector.detector import Detector
from fewshot.detector.known_images import KnownImages
from fewshot.detector.verdict import NATURAL, SYNTHETIC, UNSURE
from fewshot.stats.intervals import Interval, delong_interval, holm
from fewshot.stats.metrics import Ranked
from fewshot.stats.paired_images import Difference, auroc_difference, exact_interval, share_difference

Word = Literal["better", "worse", "cannot be told"]
AUROC = "AUROC"
_SURE = 0.05  # a difference is called one where its p-value, corrected for all measures, lies below


@dataclass(frozen=True)
class Measure:
    """One measure of both detectors on the same images.

    Args:
        name: ``false alarms`` (naturals called synthetic), ``misses`` (synthetic images called natural), ``unsure``
            (images of either class that get no verdict), or ``AUROC``.
        images: of how many; old, new: shares or AUROCs, with a 95 % interval each (exact, or DeLong's).
        old_count, new_count: how many images; None of an AUROC.
        difference: new minus old, paired.
        p_holm: its p-value corrected for all measures of the comparison.
    """

    name: str
    images: int
    old: float
    new: float
    old_interval: Interval
    new_interval: Interval
    old_count: int | None
    new_count: int | None
    difference: Difference
    p_holm: float = float("nan")

    @property
    def word(self) -> Word:
        """What can be said of the successor; NaN says nothing."""
        if not self.p_holm < _SURE:
            return "cannot be told"
        return "better" if (self.difference.value > 0) == (self.name == AUROC) else "worse"

    @property
    def sentence(self) -> str:
        """What can be said of the successor, with the number of images that it stands on."""
        return self.word if self.word != "cannot be told" else f"cannot be told from {self.images} images"


@dataclass(frozen=True)
class Comparison:
    """A detector and its successor on a check set; it decides nothing.

    Args:
        natural, synthetic: how many images of each class.
        digest: SHA-256 of the images' pixels and labels, by which it shows that the set is still the same.
        measures: those that the classes allow.
    """

    natural: int
    synthetic: int
    digest: str
    measures: tuple[Measure, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        measures = [{**asdict(each), "word": each.word, "sentence": each.sentence} for each in self.measures]
        return {**vars(self), "measures": measures}

    def lines(self) -> list[str]:
        """Return the comparison, a line each measure and one of what it says."""
        images = self.natural + self.synthetic
        return [
            f"check        {images} images ({self.natural} natural, {self.synthetic} synthetic) judged by both, set "
            f"{self.digest[:16]}",
            *(f"             {_line(each)}" for each in self.measures),
            f"             {_said(self.measures, images)}",
        ]


def compare(old: Detector, new: Detector, images: KnownImages) -> Comparison:
    """Judge the same images by both, and return how they differ.

    Args:
        images: labelled, of distinct pixels, with the features of both; in no role of either.

    Raises:
        InputError: there is no image.
    """
    if not len(images):
        raise InputError("--check: there is no labelled image to compare on; give some of both classes")
    synthetic = images.synthetic
    scores = [detector.score(images.features)[0] for detector in (old, new)]
    said = [np.array(detector.verdicts(own)) for detector, own in zip((old, new), scores, strict=True)]
    found = [
        *_share("false alarms", [verdicts[~synthetic] == SYNTHETIC for verdicts in said]),
        *_share("misses", [verdicts[synthetic] == NATURAL for verdicts in said]),
        *_share("unsure", [verdicts == UNSURE for verdicts in said]),
        *_auroc(scores, synthetic),
    ]
    corrected = holm([1.0 if np.isnan(each.difference.p) else each.difference.p for each in found])
    return Comparison(
        natural=int((~synthetic).sum()),
        synthetic=int(synthetic.sum()),
        digest=_digest(images),
        measures=tuple(replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)),
    )


def _share(name: str, marked: Sequence[BoolArray]) -> Iterator[Measure]:
    images = len(marked[0])
    if not images:
        return
    old, new = (int(marks.sum()) for marks in marked)
    yield Measure(
        name=name,
        images=images,
        old=old / images,
        new=new / images,
        old_interval=exact_interval(old, images),
        new_interval=exact_interval(new, images),
        old_count=old,
        new_count=new,
        difference=share_difference(marked[1], marked[0]),
    )


def _auroc(scores: Sequence[Float64Array], synthetic: BoolArray) -> Iterator[Measure]:
    if synthetic.all() or not synthetic.any():
        return
    old, new = ((own[~synthetic], own[synthetic]) for own in scores)
    with np.errstate(invalid="ignore", divide="ignore"):  # one image of a class has no variance
        intervals = [delong_interval(*own) if min(map(len, own)) > 1 else _NO_INTERVAL for own in (old, new)]
    yield Measure(
        name=AUROC,
        images=len(synthetic),
        old=Ranked.of(scores[0], synthetic).auroc(),
        new=Ranked.of(scores[1], synthetic).auroc(),
        old_interval=intervals[0],
        new_interval=intervals[1],
        old_count=None,
        new_count=None,
        difference=auroc_difference(new, old),
    )


_NO_INTERVAL = Interval(float("nan"), float("nan"))


def _digest(images: KnownImages) -> str:
    listed = sorted(f"{image} {int(label)}" for image, label in zip(images.ids, images.synthetic, strict=True))
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _line(measure: Measure) -> str:
    old = _shown(measure.old, measure.old_interval, measure.old_count, measure.images)
    new = _shown(measure.new, measure.new_interval, measure.new_count, measure.images)
    gap = measure.difference
    scale, unit, digits = (1.0, "", 3) if measure.name == AUROC else (100.0, " points", 0)
    interval = (
        "no interval"
        if np.isnan(gap.low)
        else f"{scale * gap.low:+.{digits}f} to {scale * gap.high:+.{digits}f}, p {gap.p:.2g}"
    )
    return (
        f"{measure.name:<13}old {old}, new {new}: {scale * gap.value:+.{digits}f}{unit} ({interval}); "
        f"{measure.sentence}"
    )


def _shown(value: float, interval: Interval, count: int | None, images: int) -> str:
    if count is not None:
        return f"{count} of {images} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"
    return f"{value:.3f}" + ("" if np.isnan(interval.low) else f" ({interval.low:.3f} to {interval.high:.3f})")


def _said(measures: Sequence[Measure], images: int) -> str:
    words = {
        word: [each.name for each in measures if each.word == word] for word in ("better", "worse", "cannot be told")
    }
    told = [f"{word} in {', '.join(words[word])}" for word in ("better", "worse") if words[word]]
    rest = words["cannot be told"]
    told += [f"whether {', '.join(rest)} changed cannot be told from {images} images"] * bool(rest)
    return f"the new one is: {'; '.join(told)}" if len(rest) < len(measures) else told[0]
