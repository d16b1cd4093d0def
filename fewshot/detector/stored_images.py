"""Images of a store, judged by their stored features: no network runs, and none is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress

import numpy as np

from fewshot.core.arrays import FloatArray, IntArray, spans
from fewshot.core.errors import StoreError
from fewshot.detector.detector import Detector
from fewshot.detector.fitting_inputs import require_comparable
from fewshot.detector.judgement import Judged, Judgement
from fewshot.detector.known_images import FeatureKey
from fewshot.detector.stability import layers_under, under_views
from fewshot.embeddings.store.failures import Failure, Reasons
from fewshot.embeddings.store.reader import FeatureStore

_ROWS = 1024  # judged at a time


def require_judgeable(detector: Detector, store: FeatureStore, views: Sequence[str] = ()) -> None:
    """Refuse a store whose features are not those that a detector looks at.

    Args:
        views: re-encodings that are wanted as well.

    Raises:
        StoreError: weights, input rule, precision or another identity field is not as fitted, or a view is not there.
        UnknownNameError: a backbone or layer is not there.
        OptionError: re-encodings are wanted of a detector that looks at several views itself.
    """
    require_comparable(store, detector.layers)
    missing = [
        view
        for view in views
        if not all(store.has_layer(info.key) for info in layers_under(detector, [view]) if info.view == view)
    ]
    if missing:
        raise StoreError(
            f"--stability: {store.path} has no features under {', '.join(missing)}; add them with `fewshot embed "
            f"--view {','.join(views)}`, or give the images instead of the store"
        )
    require_comparable(store, layers_under(detector, views))


def judged_rows(
    detector: Detector,
    store: FeatureStore,
    *,
    where: Mapping[str, str | Sequence[str]] | None = None,
    views: Sequence[str] = (),
) -> Iterator[list[Judged]]:
    """Yield what is said of each image of a store in order, some at a time.

    A row without features is a failure, and so, last, is each image that was given to ``embed`` and has no row.

    Args:
        where: which images, as in ``FeatureStore.select``; views: re-encodings, whose features are stored as well.

    Raises:
        StoreError: the store is damaged.
    """
    keys = [(info.backbone, info.layer, info.view) for info in layers_under(detector, views)]
    rows = store.select(where)
    reasons = Reasons()
    reasons.add(store.failures())
    for start, stop in spans(len(rows), _ROWS):
        yield _judged(detector, store, rows[start:stop], keys, views, reasons)
    if not where and (unreadable := _unreadable(store)):
        yield [Judged(failure.key, None, failure=failure.reason) for failure in unreadable]


def stored_count(store: FeatureStore, where: Mapping[str, str | Sequence[str]] | None) -> int:
    """Return how many images ``judged_rows`` yields."""
    return len(store.select(where)) + (0 if where else len(_unreadable(store)))


def _unreadable(store: FeatureStore) -> list[Failure]:
    return [failure for failure in store.failures() if failure.of_image]


def _judged(
    detector: Detector,
    store: FeatureStore,
    rows: IntArray,
    keys: Sequence[FeatureKey],
    views: Sequence[str],
    reasons: Reasons,
) -> list[Judged]:
    names, ids, hashes = (store.column(name)[rows].tolist() for name in ("key", "id", "file_sha256"))
    there = np.logical_and.reduce([store.present(backbone, view=view)[rows] for backbone, _, view in keys])
    judgements = iter(_judgements(detector, store, rows[there], keys, views, list(compress(ids, there))))
    return [
        Judged(
            name,
            next(judgements) if present else None,
            failure="" if present else _reason(name, store, rows[number], keys, reasons),
            file_sha256=sha256,
            pixel_id=image,
        )
        for number, (name, image, sha256, present) in enumerate(zip(names, ids, hashes, there.tolist(), strict=True))
    ]


def _judgements(
    detector: Detector,
    store: FeatureStore,
    rows: IntArray,
    keys: Sequence[FeatureKey],
    views: Sequence[str],
    ids: Sequence[str],
) -> list[Judgement]:
    if not len(rows):
        return []
    features: dict[FeatureKey, FloatArray] = {
        (backbone, layer, view): store.read_stored(rows, backbone, layer, view=view) for backbone, layer, view in keys
    }
    found = detector.judge(features, ids)
    return under_views(detector, found, features, views) if views else found


def _reason(name: str, store: FeatureStore, row: int, keys: Sequence[FeatureKey], reasons: Reasons) -> str:
    missing = ((backbone, view) for backbone, _, view in keys if not store.present(backbone, view=view)[row])
    return reasons.of(name, *next(missing))
