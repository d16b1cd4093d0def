"""Which images to label next: those on which the verdict is least settled, and of these some that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray, IntArray, spans
from fewshot.core.errors import InputError
from fewshot.core.outputs import Output, require_outputs
from fewshot.detector.detector import Detector
from fewshot.detector.fit import working_folder
from fewshot.detector.fitting_inputs import embedding_like
from fewshot.detector.inbox import Waiting, waiting
from fewshot.detector.known_images import FeatureKey
from fewshot.detector.label_list import LABEL_LIST, Suggestion
from fewshot.draws.coresets import kcenter
from fewshot.embeddings.search.query import require_roots
from fewshot.heads.base import unit_length

COUNT = 20
# k images that differ are taken of the NEAR k with the least margin (after Zhdanov, arXiv 1901.05954), and never of
# more than half of an inbox, which would leave the margin nothing to say.
NEAR = 5
_BLOCK = 8192


@dataclass(frozen=True)
class Suggestions:
    """Images to label, in the order in which it helps most, and what was not suggested.

    Args:
        images: how many were looked at; repeated: of pixels that another one of them has; known: of pixels that the
            detector holds already; elsewhere: that lie in archives, or not on this machine.
        failed: (path, reason) of images that could not be used.
    """

    chosen: tuple[Suggestion, ...]
    images: int
    repeated: int
    known: int
    elsewhere: int
    failed: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        chosen = [each.to_json() for each in self.chosen]
        failed = [{"image": image, "reason": reason} for image, reason in self.failed]
        return {**vars(self), "chosen": chosen, "failed": failed}

    def lines(self) -> list[str]:
        """Return what was looked at and left out, a line each."""
        said = [f"{len(self.chosen)} of {self.images} images to label, the verdict on which is least settled"]
        for count, what in (
            (self.repeated, "left out: same pixels as another one"),
            (self.known, "left out: pixels that the detector holds already"),
            (self.elsewhere, "left out: in an archive, or not on this machine, so that no table can name it"),
            (len(self.failed), "could not be used"),
        ):
            said += [f"{count} {what}"] * bool(count)
        return said


@dataclass(frozen=True)
class _Pool:
    """Images that may be suggested: from which store, which row of it, and their scores."""

    stores: tuple[Waiting, ...]
    store: IntArray
    number: IntArray
    scores: Float64Array

    def take(self, chosen: IntArray) -> "_Pool":
        return replace(self, store=self.store[chosen], number=self.number[chosen], scores=self.scores[chosen])

    def features(self, keys: Sequence[FeatureKey]) -> dict[FeatureKey, FloatArray]:
        """Return the features of all its images, in order."""
        found: dict[FeatureKey, FloatArray] = {}
        for key in keys:
            parts = [_features(self.stores[at], [key], self.number[self.store == at])[key] for at in self._used]
            back = np.argsort(np.concatenate([np.flatnonzero(self.store == at) for at in self._used]))
            found[key] = np.concatenate(parts)[back]
        return found

    @property
    def _used(self) -> list[int]:
        return [at for at in range(len(self.stores)) if (self.store == at).any()]


def suggest(
    detector: Detector | Path | str,
    inbox: Sequence[Path | str] | Path | str,
    *,
    count: int = COUNT,
    out: Path | None = None,
    roots: Sequence[Path] = (),
    weights: Sequence[str] = (),
    device: str = "auto",
    quiet: bool = False,
) -> Suggestions:
    """Return which images of an inbox to label next, those first that help most.

    Of the images nearest to the two thresholds those are taken that lie far from each other (greedy k-center). Images
    of equal pixels count once, and those that the detector holds are left out.

    Args:
        detector: a detector or its file.
        inbox: folders, image files, tables with a column ``path``, and stores.
        count: how many, fewer where there are not so many.
        out: the list that is to be written; embedded images are kept beside it until this ends.
        roots: where images of the stores lie now, if they have moved.
        weights: ``NAME=PATH`` requests; device: where networks run.

    Raises:
        InputError: no image that could be suggested.
        FewshotError: as ``fit``, for images that are to be embedded.
    """
    judge = detector if isinstance(detector, Detector) else Detector.load(detector)
    given = [Path(each) for each in ([inbox] if isinstance(inbox, str | Path) else inbox)]
    require_roots(roots)
    require_outputs([Output(out, LABEL_LIST)], inputs=[*([judge.path] if judge.path else []), *given])
    with working_folder(out) as folder:
        embedding = embedding_like(judge.layers, folder, weights=weights, device=device, quiet=quiet)
        stores = waiting(given, embedding, roots=roots)
        pool, left_out = _pool(judge, stores)
        chosen = _chosen(judge, pool, count)
        failed = tuple(failure for each in stores for failure in each.failed)
        return Suggestions(chosen, sum(len(each.rows) for each in stores) + len(failed), *left_out, failed)


def margins(scores: FloatArray, *, alarm: float, clear: float) -> Float64Array:
    """Return (M,) how far scores lie from the nearer of two thresholds; 0 between them, whichever is the higher.

    >>> margins(np.array([-2.0, 0.0, 3.0]), alarm=1.0, clear=-1.0).tolist()
    [1.0, 0.0, 2.0]
    """
    low, high = sorted((alarm, clear))
    wide = np.asarray(scores, dtype=np.float64)
    return np.asarray(np.maximum(np.maximum(low - wide, wide - high), 0.0))


def _keys(detector: Detector) -> list[FeatureKey]:
    return [(info.backbone, info.layer, info.view) for info in detector.layers]


def _pool(detector: Detector, stores: Sequence[Waiting]) -> tuple[_Pool, tuple[int, int, int]]:
    """Return what may be suggested, and how many images were repeated, known, or elsewhere."""
    held = set(map(str, detector.images.ids))
    seen: set[str] = set()
    repeated = known = elsewhere = 0
    taken: list[tuple[int, int]] = []
    for at, each in enumerate(stores):
        for number, (image, file) in enumerate(zip(each.ids, each.files, strict=True)):
            if image in held:
                known += 1
            elif image in seen:
                repeated += 1
            elif file is None:
                elsewhere += 1
            else:
                seen.add(image)
                taken.append((at, number))
    if not taken:
        raise InputError(
            f"no image of the inbox can be suggested: {known} are held by the detector already, {elsewhere} are not on "
            f"this machine as files; name other images, or say by --root where those of a store lie now"
        )
    store, number_of = (np.array(column, dtype=np.int64) for column in zip(*taken, strict=True))
    scores = np.concatenate([_scores(detector, each, number_of[store == at]) for at, each in enumerate(stores)])
    return _Pool(tuple(stores), store, number_of, scores), (repeated, known, elsewhere)


def _scores(detector: Detector, images: Waiting, numbers: IntArray) -> Float64Array:
    parts = [np.empty(0)]
    for start, stop in spans(len(numbers), _BLOCK):
        parts.append(detector.score(_features(images, _keys(detector), numbers[start:stop]))[0])
    return np.concatenate(parts)


def _features(images: Waiting, keys: Sequence[FeatureKey], numbers: IntArray) -> dict[FeatureKey, FloatArray]:
    rows = images.rows[numbers]
    return {
        (backbone, layer, view): images.store.read(rows, backbone, layer, view=view) for backbone, layer, view in keys
    }


def _chosen(detector: Detector, pool: _Pool, count: int) -> tuple[Suggestion, ...]:
    """Return the images with the least margin, of which each differs from those before it."""
    described = detector.description
    alarm, clear = described.alarm.value, described.clear.value
    distance = margins(pool.scores, alarm=alarm, clear=clear)
    order = np.lexsort((np.abs(pool.scores - (alarm + clear) / 2), distance))
    order = order[: min(NEAR * count, max(count, len(order) // 2))]
    near, distance = pool.take(order), distance[order]
    features = near.features(_keys(detector))
    differing = kcenter(unit_length(_as_float(features, detector)), count=min(count, len(order)))
    picked = {key: rows[differing] for key, rows in features.items()}
    sources = near.take(differing)
    files = [sources.stores[at].files[number] for at, number in zip(sources.store, sources.number, strict=True)]
    ids = [sources.stores[at].ids[number] for at, number in zip(sources.store, sources.number, strict=True)]
    judged = detector.judge(picked, ids)
    return tuple(
        Suggestion(file, image, judgement, float(margin))
        for file, image, judgement, margin in zip(files, ids, judged, distance[differing], strict=True)
        if file is not None
    )


def _as_float(features: Mapping[FeatureKey, FloatArray], detector: Detector) -> Float64Array:
    """Return the features by which images are compared, in double precision: those of the first member."""
    return np.asarray(features[detector.nearest.key], dtype=np.float64)
