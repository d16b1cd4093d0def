"""All checks of a store together, with the warnings that follow from them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot.audit.confounds import Confound, confounds, warning_of
from fewshot.audit.duplicates import RADIUS, Leaks, Pair, duplicates, feature_duplicates, leaks, support_leaks
from fewshot.audit.file_metadata import SourceMetadata, source_metadata
from fewshot.audit.left_out import LeftOut, left_out
from fewshot.core.arrays import IntArray
from fewshot.embeddings.store.reader import FeatureStore

if TYPE_CHECKING:
    from fewshot.embeddings.search.index import SourceIndex

_FEW_IMAGES = 20  # of a source: below this a per-source number has no width worth printing
_UNEQUAL = 4.0  # times as many images of one class as of the other


@dataclass(frozen=True)
class Audit:
    """What was found in a store.

    Args:
        images, natural, synthetic: how many.
        sources: the file metadata of each source.
        confounds: how well file metadata alone separates the classes, all fields together first.
        leaks: numbers of pairs across classes, sources, splits and groups, exact and near.
        pairs: the duplicates themselves.
        supports: trial of a report -> pairs with one image in the support and one outside; empty without a report.
        left_out: what files hold that the embedded pixels do not show, with the images of each class.
        lost: ``backbone`` or ``backbone@view`` -> images that have no features.
        warnings: sentences for a reader, the gravest first.
    """

    images: int
    natural: int
    synthetic: int
    sources: tuple[SourceMetadata, ...]
    confounds: tuple[Confound, ...]
    leaks: tuple[Leaks, ...]
    pairs: tuple[Pair, ...]
    supports: Mapping[str, int]
    left_out: tuple[LeftOut, ...]
    lost: Mapping[str, int]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, under the names that they have had since version 0.1."""
        document = asdict(self)
        document["facts"] = document.pop("sources")
        document["confounds"] = [{"facts": list(one.pop("fields")), **one} for one in document["confounds"]]
        return document


def audit(
    store: FeatureStore,
    rows: IntArray | None = None,
    *,
    radius: int = RADIUS,
    index: "SourceIndex | None" = None,
    score: float = 0.99,
    supports: Mapping[str, Iterable[str]] | None = None,
    seed: int = 0,
) -> Audit:
    """Look for everything that could fool a reader of numbers on these images.

    Args:
        store: made by ``fewshot embed``.
        rows: which images; all when None.
        radius: bits of the perceptual hash in which near duplicates may differ.
        index: an exact cosine index; near duplicates by its features are then looked for as well.
        score: the least cosine of near duplicates by features.
        supports: trial -> keys or ids of the support, of a report over this store.
        seed: of the folds.
    """
    chosen = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
    pairs = duplicates(store, chosen, radius=radius)
    if index is not None:
        pairs += _more_pairs(pairs, feature_duplicates(index, score=score), among=chosen)
    sources = source_metadata(store, chosen)
    measured = confounds(store, chosen, seed=seed)
    crossing = leaks(store, pairs)
    trials = support_leaks(store, pairs, supports or {})
    lost = _lost(store, chosen)
    synthetic = int(store.synthetic[chosen].sum())
    return Audit(
        images=len(chosen),
        natural=len(chosen) - synthetic,
        synthetic=synthetic,
        sources=sources,
        confounds=measured,
        leaks=crossing,
        pairs=pairs,
        supports=trials,
        left_out=left_out(store, chosen),
        lost=lost,
        warnings=tuple(_warnings(sources, measured, crossing, trials, lost)),
    )


def _more_pairs(known: Iterable[Pair], found: Iterable[Pair], *, among: IntArray) -> tuple[Pair, ...]:
    """Return the found pairs of images in ``among`` that are not known already."""
    seen, inside = {(pair.first, pair.second) for pair in known}, set(among.tolist())
    return tuple(
        pair for pair in found if (pair.first, pair.second) not in seen and {pair.first, pair.second} <= inside
    )


def _lost(store: FeatureStore, rows: IntArray) -> dict[str, int]:
    found = {}
    for backbone in store.backbones:
        for view in store.views(backbone):
            missing = int((~store.present(backbone, view=view)[rows]).sum())
            if missing:
                found[backbone if view == "clean" else f"{backbone}@{view}"] = missing
    return found


def _warnings(
    sources: tuple[SourceMetadata, ...],
    measured: tuple[Confound, ...],
    crossing: tuple[Leaks, ...],
    trials: Mapping[str, int],
    lost: Mapping[str, int],
) -> Iterable[str]:
    if warning := warning_of(measured):
        yield warning
    elif not measured:
        yield "no file metadata to measure (imported store, or fewer than 10 images of a class): confounds are unknown"
    for leak in crossing:
        yield from _leak_warnings(leak)
    leaking = [trial for trial, pairs in trials.items() if pairs]
    if leaking:
        yield (
            f"{len(leaking)} of {len(trials)} trials have a duplicate of a support image outside the support; "
            f"draw again with --group, or leave the copies out"
        )
    yield from _balance_warnings(sources)
    for name, images in lost.items():
        yield f"{images} images have no features of {name}; `fewshot inspect` lists why, and they are in no number"


def _leak_warnings(leak: Leaks) -> Iterable[str]:
    kind = "of equal pixels" if leak.likeness == "exact" else "nearly alike"
    across = "natural on one side and synthetic on the other"
    remakes = leak.classes_of_one_group if leak.likeness == "near" else 0  # equal pixels are never of both classes
    if leak.classes > remakes:
        remedy = ", or a fake remakes the other: give both one group" if leak.likeness == "near" else ""
        pairs = _pairs(leak.classes - remakes, kind)
        yield f"{pairs} {'is' if leak.classes - remakes == 1 else 'are'} {across}: a label is wrong{remedy}"
    if remakes:
        verb = "is" if remakes == 1 else "are"
        yield (
            f"{_pairs(remakes, kind)} {verb} {across}, within one group: expected where fakes remake natural images; "
            f"give --group to every protocol, which keeps them on one side"
        )
    if leak.splits:
        lie = "lies" if leak.splits == 1 else "lie"
        yield f"{_pairs(leak.splits, kind)} {lie} in different splits: test images were trained on"
    if leak.groups:
        yield (
            f"{_pairs(leak.groups, kind)} {'shares' if leak.groups == 1 else 'share'} no group: support and query can "
            f"hold the same picture; give both one group and use --group"
        )


def _pairs(count: int, kind: str) -> str:
    return f"{count} {'pair' if count == 1 else 'pairs'} {kind}"


def _balance_warnings(sources: tuple[SourceMetadata, ...]) -> Iterable[str]:
    few = [one.source for one in sources if one.images < _FEW_IMAGES]
    if few:
        yield f"fewer than {_FEW_IMAGES} images of {', '.join(few)}: their own numbers mean little"
    counts = [sum(one.images for one in sources if one.synthetic == wanted) for wanted in (False, True)]
    if not all(counts):
        yield f"one class only: {counts[0]} natural and {counts[1]} synthetic images"
    elif max(counts) > _UNEQUAL * min(counts):
        yield f"{counts[0]} natural and {counts[1]} synthetic images: average precision and accuracy follow that ratio"
