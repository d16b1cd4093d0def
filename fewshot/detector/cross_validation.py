"""Scores of support images by heads that did not see them, and what is chosen by them."""

from collections.abc import Sequence

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import EpisodeError
from fewshot.heads.base import Head
from fewshot.solvers.blocks import FOLDS, stratified_folds
from fewshot.stats.metrics import Ranked

_MOST_FOLDS = 100


def left_out_scores(head: Head, features: FloatArray, synthetic: BoolArray) -> Float64Array:
    """Return (n,) the score of each image by a head that saw neither it nor, in turn, a partner of the other class.

    Left out alone, an image leaves the other class in the majority, and a head that has learnt nothing then scores it
    for that class: pooled, such scores rank classes backwards. So as many folds as the scarcer class has images, a
    hundred at most, each take their share of both classes.

    Args:
        head: its parameters; not fitted here. features: (n, D), prepared; synthetic: (n,) bool.

    Raises:
        EpisodeError: a class has one image only.
    """
    return _scores_by_folds(head, features, synthetic, _folds(synthetic, _MOST_FOLDS))


def choice_auroc(head: Head, features: FloatArray, synthetic: BoolArray) -> float:
    """Return the mean AUROC over stratified folds of a support, at most five, each class dealt in its order.

    Raises:
        EpisodeError: a class has one image only.
    """
    folds = _folds(synthetic, FOLDS)
    scores = _scores_by_folds(head, features, synthetic, folds)
    return float(np.mean([Ranked.of(scores[fold], synthetic[fold]).auroc() for fold in folds]))


def support_cv_auroc(heads: Sequence[Head], features: Sequence[FloatArray], synthetic: BoolArray) -> float:
    """Return the mean AUROC of choosing one of several heads, anew in each fold by ``choice_auroc`` inside the others.

    The highest of their own AUROCs would flatter the choice, for it was taken on the very images that measure it. The
    first of equals is taken, and where too few images are left to choose by.

    Args:
        heads: not fitted here; features: (n, D) of each, prepared; synthetic: (n,) bool.

    Raises:
        EpisodeError: a class has one image only.
    """
    found = []
    for fold in _folds(synthetic, FOLDS):
        rest = np.setdiff1d(np.arange(len(synthetic)), fold)
        best = _best(heads, features, synthetic, rest)
        scores = heads[best].converged().score_draws(features[best], synthetic, rest[None])[0]
        found.append(Ranked.of(scores[fold], synthetic[fold]).auroc())
    return float(np.mean(found))


def class_spread(scores: Float64Array, synthetic: BoolArray) -> float:
    """Return the spread of scores (n,) within a class, the mean over both; 1 where there is none."""
    spread = float(np.sqrt(np.mean([np.var(scores[synthetic == label]) for label in (False, True)])))
    return spread if spread > 0 else 1.0


def _best(heads: Sequence[Head], features: Sequence[FloatArray], synthetic: BoolArray, rows: IntArray) -> int:
    """Return which head has the highest cross-validated AUROC on some rows."""
    labels = synthetic[rows]
    if min(labels.sum(), (~labels).sum()) < 2:
        return 0
    return int(np.argmax([choice_auroc(head, own[rows], labels) for head, own in zip(heads, features, strict=True)]))


def _scores_by_folds(head: Head, features: FloatArray, synthetic: BoolArray, folds: Sequence[IntArray]) -> Float64Array:
    """Return (n,) scores, each by the head that was fitted on the other folds; folds of one size are fitted at once."""
    scores = np.empty(len(synthetic))
    for size in {len(fold) for fold in folds}:
        same = [fold for fold in folds if len(fold) == size]
        supports = np.stack([np.setdiff1d(np.arange(len(synthetic)), fold) for fold in same])
        found = head.converged().score_draws(features, synthetic, supports)
        for fold, row in zip(same, found, strict=True):
            scores[fold] = row[fold]
    return scores


def _folds(synthetic: BoolArray, most: int) -> Sequence[IntArray]:
    """Return disjoint folds of row numbers with images of both classes in each, each class dealt in its order."""
    found = stratified_folds(synthetic, most=most)
    if not found:
        raise EpisodeError(
            f"the support has {int((~synthetic).sum())} natural and {int(synthetic.sum())} synthetic images; at least "
            f"2 of each are needed, ten of each are usual: add images to it"
        )
    return found
