"""The choice of a layer (or k) among several, trial by trial: inside the support, or on query labels by oracle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import EpisodeError
from fewshot.embeddings.layer_key import LayerKey
from fewshot.heads.base import Head
from fewshot.protocols.trials.head_solver import HeadSolver
from fewshot.protocols.trials.layers import Chosen
from fewshot.protocols.trials.measures import Measures, pick
from fewshot.protocols.trials.trials import Trials
from fewshot.solvers.blocks import FOLDS
from fewshot.stats.metrics import Ranked, Tpr

KNN = "knn"  # the head whose k can be chosen


@dataclass(frozen=True)
class Choice:
    """The measures of what was chosen in every trial, and its label."""

    measures: Measures
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A head on one layer, among which a choice is made.

    Args:
        key: the layer.
        head: the head, its parameters fixed.
        measures: of its scores.
        best: the same head with the k that is best on query labels, where that is wanted.
        label: what it is called where it is chosen; empty for the layer's name.
    """

    key: LayerKey
    head: Head
    measures: Measures
    best: Choice | None = None
    label: str = ""

    @property
    def called(self) -> str:
        """What it is called where it is chosen."""
        return self.label or self.key.layer


def score_best_k(
    head: Head, trials: Trials, features: FloatArray, shots: int, *, largest: int, tpr: Tpr
) -> tuple[Float64Array, tuple[int, ...]]:
    """Return (T, n) scores with the k = 1 .. ``largest`` of the largest AUROC on each trial's query, and these k.

    Args:
        head: the head ``knn``.
    """
    from fewshot.heads.knn import Knn

    assert isinstance(head, Knn)
    synthetic, scores, chosen = trials.synthetic, np.empty((len(trials), len(features))), []
    for trial, drawn in enumerate(trials.draws):
        support = drawn.support(shots)
        fitted = head.unfitted().fit(features[support], synthetic[support].astype(np.int64))
        every = fitted.score_every_k(features, list(range(1, min(largest, len(support)) + 1)))
        query = drawn.query
        auroc = [Ranked.of(row[query], synthetic[query]).measure("auroc", tpr=tpr) for row in every]
        chosen.append(int(np.argmax(auroc)))
        scores[trial] = every[chosen[-1]]
    return scores, tuple(number + 1 for number in chosen)


def choose(
    selection: Chosen, candidates: Sequence[Candidate], trials: Trials, shots: int, *, default: str, solver: HeadSolver
) -> Choice:
    """Choose a layer or backbone in every trial: by ``oracle``, or by ``support-cv``, validated inside the support.

    Args:
        shots: of the supports.
        default: the layer that ties go to; the first candidate where none has this name.
        solver: how heads are fitted in the folds.
    """
    if selection == "oracle":
        return chosen_by_oracle(candidates)
    return chosen_by_cross_validation(candidates, trials, shots, default=default, solver=solver)


def chosen_by_oracle(candidates: Sequence[Candidate]) -> Choice:
    """Choose in every trial the candidate with the largest pooled AUROC on the query labels; the first among equals.

    FiSeR's evaluation does so (arXiv 2606.00606, evaluate.py); the number is not an estimate of what a user will see.
    """
    choices = [
        candidate.best or Choice(candidate.measures, (candidate.called,) * len(candidate.measures.pooled()))
        for candidate in candidates
    ]
    chosen = np.argmax(np.stack([choice.measures.pooled() for choice in choices]), axis=0).astype(np.int64)
    labels = tuple(choices[number].labels[trial] for trial, number in enumerate(chosen))
    return Choice(pick([choice.measures for choice in choices], chosen), labels)


def chosen_by_cross_validation(
    candidates: Sequence[Candidate], trials: Trials, shots: int, *, default: str, solver: HeadSolver
) -> Choice:
    """Choose in every trial the layer with the best cross-validated AUROC inside the support.

    Stratified folds, at most five, each class dealt in the order drawn; ties go to the default layer, then to the
    first. Query labels are not looked at.
    """
    validated = np.stack(
        [
            _validation_auroc(
                candidate.head, trials.pool.for_head(candidate.head, candidate.key), trials, shots, solver
            )
            for candidate in candidates
        ]
    )
    favour = np.array([candidate.key.layer == default for candidate in candidates]) * 1e-9
    chosen = np.argmax(validated + favour[:, None], axis=0).astype(np.int64)
    labels = tuple(candidates[number].called for number in chosen)
    return Choice(pick([candidate.measures for candidate in candidates], chosen), labels)


def chosen_scale(candidates: Sequence[Candidate], trials: Trials, shots: int, *, solver: HeadSolver) -> Choice:
    """Choose in every trial among the scales of one layer by one AUROC over all images that were left out.

    The folds are those of ``chosen_by_cross_validation``. A mean over folds of two and two images is coarse, and both
    scales of one head give scores of one kind, which can be compared between folds: over the layers of
    docs/concepts/scaling.md one AUROC over all chooses better. Ties go to the first.
    """
    validated = []
    for candidate in candidates:
        features = trials.pool.for_head(candidate.head, candidate.key)
        left_out = _left_out(candidate.head, features, trials, shots, solver)
        folds = len(left_out) // len(trials)
        parts = [left_out[start : start + folds] for start in range(0, len(left_out), folds)]
        validated.append([Ranked.of(*map(np.concatenate, zip(*part, strict=True))).auroc() for part in parts])
    chosen = np.argmax(np.round(validated, 9), axis=0).astype(np.int64)
    labels = tuple(candidates[number].called for number in chosen)
    return Choice(pick([candidate.measures for candidate in candidates], chosen), labels)


def _validation_auroc(head: Head, features: FloatArray, trials: Trials, shots: int, solver: HeadSolver) -> Float64Array:
    """Return (T,) the mean AUROC over the folds of every support."""
    found = [Ranked.of(*fold).auroc() for fold in _left_out(head, features, trials, shots, solver)]
    return np.asarray(np.reshape(found, (len(trials), -1)).mean(1))


def _left_out(
    head: Head, features: FloatArray, trials: Trials, shots: int, solver: HeadSolver
) -> list[tuple[FloatArray, BoolArray]]:
    """Return the scores and classes of the images held out of every fold, trial by trial."""
    held_out, kept = _folds(trials, shots)
    union, columns = np.unique(np.concatenate([*held_out, *kept]), return_inverse=True)
    synthetic = trials.synthetic[union]
    held_out, kept = _split_as(columns, [*held_out, *kept], len(held_out))
    found: dict[int, tuple[FloatArray, BoolArray]] = {}
    sizes = [(len(fitted), len(held)) for fitted, held in zip(kept, held_out, strict=True)]
    for size in set(sizes):
        same = [number for number, other in enumerate(sizes) if other == size]
        fitted_on, validated = (np.stack([part[number] for number in same]) for part in (kept, held_out))
        scores = solver.score_rows(head, features[union], synthetic, fitted_on, validated)
        for number, row in zip(same, scores, strict=True):
            found[number] = row, synthetic[held_out[number]]
    return [found[number] for number in range(len(sizes))]


def folds_of(trials: Trials, shots: int) -> int:
    """Return into how many folds a support is divided: five, or as many as each of its groups has images.

    Raises:
        EpisodeError: a group has a single image, so that there is none to fit on beside the one held out.
    """
    fewest = min(len(rows[:shots]) for drawn in trials.draws for rows in drawn.order.values())
    if fewest < 2:
        raise EpisodeError(
            f"--layer support-cv needs at least 2 images of every class (or source) in each support, and one has "
            f"{fewest}; list more, or choose --layer fixed"
        )
    return min(FOLDS, fewest)


def _folds(trials: Trials, shots: int) -> tuple[list[IntArray], list[IntArray]]:
    """Return the rows held out of every fold of every trial, and the rows kept, trial by trial."""
    held_out, kept = [], []
    folds = folds_of(trials, shots)
    for drawn in trials.draws:
        parts = [rows[:shots] for rows in drawn.order.values()]
        for fold in range(folds):
            held_out.append(np.concatenate([rows[fold::folds] for rows in parts]))
            kept.append(np.concatenate([np.delete(rows, np.s_[fold::folds]) for rows in parts]))
    return held_out, kept


def _split_as(columns: IntArray, like: Sequence[IntArray], first: int) -> tuple[list[IntArray], list[IntArray]]:
    """Cut ``columns`` into parts as long as those of ``like``; return the ``first`` of them, and the others."""
    parts = np.split(columns, np.cumsum([len(rows) for rows in like])[:-1])
    return parts[:first], parts[first:]
