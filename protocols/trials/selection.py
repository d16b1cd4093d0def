"""Scores of every trial, and the choice of a layer (or k) among several: inside the support, or by oracle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, FloatArray, IntArray
from fewshot.core.errors import InputError
from fewshot.draws.episodes import Draw
from fewshot.heads.base import Head
from fewshot.heads.knn import Knn
from fewshot.protocols.trials.measures import Measures, pick
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.solvers.dual import NotSolvedError
from fewshot.stats.metrics import Ranked, Tpr

FOLDS = 5  # 2 + 2 held out of 10 + 10; docs/decisions/0003-selection.md


@dataclass(frozen=True)
class Choice:
    """The measures of what was chosen in every trial, and its label."""

    measures: Measures
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A head on one layer, among which a choice is made.

    Args:
        layer: the layer.
        head: the head, its parameters fixed.
        measures: what it scores.
        best: the same head with the k that is best on query labels, where that was asked for.
    """

    layer: str
    head: Head
    measures: Measures
    best: Choice | None = None


def score(
    head: Head,
    pool: EvaluationPool,
    draws: Sequence[Draw],
    features: Float32Array,
    shots: int,
    solver: str,
    device: str,
) -> FloatArray:
    """Return (T, n) scores of all images by the head fitted on every trial's support.

    Supports of different sizes (lists given by the user) are scored size by size. Where the batched solver does not
    reach its tolerance, scikit-learn's solves the trials one after another.
    """
    supports = [drawn.support(shots) for drawn in draws]
    scores = np.empty((len(draws), len(features)), np.float64)
    for size in sorted({len(rows) for rows in supports}):
        trials = np.flatnonzero([len(rows) == size for rows in supports])
        chosen = np.stack([supports[trial] for trial in trials])
        scores[trials] = _solved(head, features, pool.images.synthetic, chosen, solver, device)
    if not np.isfinite(scores).all():
        raise InputError(f"the head {head.name!r} gave scores that are not finite; choose another layer or head")
    return scores


def _solved(
    head: Head, features: FloatArray, synthetic: BoolArray, supports: IntArray, solver: str, device: str
) -> FloatArray:
    """Return the scores (T, n) of one fit per support, by the solver asked for."""
    if solver == "sklearn":
        return head.score_draws_one_by_one(features, synthetic, supports)
    try:
        return head.score_draws(features, synthetic, supports, device=device)
    except NotSolvedError:  # libsvm and lbfgs stop at their own tolerance
        return head.score_draws_one_by_one(features, synthetic, supports)


def score_best_k(
    head: Knn,
    pool: EvaluationPool,
    draws: Sequence[Draw],
    features: Float32Array,
    shots: int,
    *,
    largest: int,
    tpr: Tpr,
) -> tuple[Float64Array, tuple[int, ...]]:
    """Return (T, n) scores with the k = 1 .. ``largest`` of the largest AUROC on each trial's query, and these k."""
    synthetic, scores, chosen = pool.images.synthetic, np.empty((len(draws), len(features))), []
    for trial, drawn in enumerate(draws):
        support = drawn.support(shots)
        fitted = head.unfitted().fit(features[support], synthetic[support].astype(np.int64))
        every = fitted.score_every_k(features, list(range(1, min(largest, len(support)) + 1)))
        asked = drawn.query
        auroc = [Ranked.of(row[asked], synthetic[asked]).measure("auroc", tpr=tpr) for row in every]
        chosen.append(int(np.argmax(auroc)))
        scores[trial] = every[chosen[-1]]
    return scores, tuple(number + 1 for number in chosen)


def chosen_by_oracle(candidates: Sequence[Candidate]) -> Choice:
    """Choose in every trial the candidate with the largest pooled AUROC on the query labels; the first among equals.

    FiSeR does so (evaluate.py @ ad2637c); the number is no estimate of what a user will see.
    """
    choices = [
        candidate.best or Choice(candidate.measures, (candidate.layer,) * len(candidate.measures.pooled()))
        for candidate in candidates
    ]
    chosen = np.argmax(np.stack([choice.measures.pooled() for choice in choices]), axis=0).astype(np.int64)
    labels = tuple(choices[number].labels[trial] for trial, number in enumerate(chosen))
    return Choice(pick([choice.measures for choice in choices], chosen), labels)


def chosen_by_cross_validation(
    candidates: Sequence[Candidate],
    pool: EvaluationPool,
    draws: Sequence[Draw],
    *,
    backbone: str,
    shots: int,
    default: str,
    solver: str = "batched",
    device: str = "cpu",
) -> Choice:
    """Choose in every trial the layer with the best cross-validated AUROC inside the support.

    Stratified folds, at most five, each class dealt in the order drawn; ties go to the default layer, then to the
    first. Query labels are not looked at.
    """
    judged = np.stack(
        [
            _judged(
                candidate.head,
                pool.for_head(candidate.head, backbone, candidate.layer),
                pool,
                draws,
                shots,
                solver,
                device,
            )
            for candidate in candidates
        ]
    )
    favour = np.array([candidate.layer == default for candidate in candidates]) * 1e-9
    chosen = np.argmax(judged + favour[:, None], axis=0).astype(np.int64)
    labels = tuple(candidates[number].layer for number in chosen)
    return Choice(pick([candidate.measures for candidate in candidates], chosen), labels)


def _judged(
    head: Head,
    features: FloatArray,
    pool: EvaluationPool,
    draws: Sequence[Draw],
    shots: int,
    solver: str,
    device: str,
) -> Float64Array:
    """Return (T,) the mean AUROC over the folds of every support."""
    held, kept = [], []
    folds = min(FOLDS, shots)
    for drawn in draws:
        for fold in range(folds):
            parts = [rows[:shots] for rows in drawn.order.values()]
            held.append(np.concatenate([rows[fold::folds] for rows in parts]))
            kept.append(np.concatenate([np.delete(rows, np.s_[fold::folds]) for rows in parts]))
    union, columns = np.unique(np.concatenate([*held, *kept]), return_inverse=True)
    synthetic = pool.images.synthetic[union]
    sizes = np.cumsum([len(rows) for rows in held])
    held_at = np.split(columns[: sizes[-1]], sizes[:-1])
    kept_at = np.split(columns[sizes[-1] :], np.cumsum([len(rows) for rows in kept])[:-1])
    found = np.empty(len(held))
    for size in {len(rows) for rows in kept_at}:
        same = [number for number, rows in enumerate(kept_at) if len(rows) == size]
        fitted_on = np.stack([kept_at[number] for number in same])
        scores = _solved(head, features[union], synthetic, fitted_on, solver, device)
        for number, row in zip(same, scores, strict=True):
            found[number] = Ranked.of(row[held_at[number]], synthetic[held_at[number]]).auroc()
    return np.asarray(found.reshape(len(draws), folds).mean(1))
