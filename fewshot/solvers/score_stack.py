"""Scores of several machines added up to one log odds: weights and calibration from left-out scores of the support."""

from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array
from fewshot.solvers.blocks import stratified_folds
from fewshot.solvers.fusion_weights import FLAT, Evidence, Weigh, auroc_evidence, block_weights, require_weigh

_LEAST = 0.01  # of the lead, in standard deviations: a support that shows nothing gives probabilities near 1/2


@dataclass(frozen=True)
class ScoreStack:
    """log odds = sum_b slopes_b score_b + offset.

    Args:
        weights: (..., B) float64, of the scores in units of their spread; 0 or more, adding up to 1.
        slopes: (..., B) float64, of the scores as they are.
        offset: (...) float64.
    """

    weights: Float64Array
    slopes: Float64Array
    offset: Float64Array

    @classmethod
    def of(cls, left_out: Float64Array, positive: BoolArray, *, weigh: Weigh) -> "ScoreStack":
        """Stack by left-out scores, as of normal scores of equal variance in both classes (Fisher's discriminant).

        A block's evidence is Student's t of its left-out scores, or their AUROC; its weight, as of kernels. The log
        odds of the weighted score are its lead over its variance, with Student's correction for the few images that
        the variance is from.

        Args:
            left_out: (..., B, s) float64, scores by machines that did not see the image.
            positive: (s,) bool.
            weigh: ``alignment`` for Student's t.
        """
        require_weigh(weigh)
        lead, middle, spread = _moments(left_out, positive)
        usable = spread > FLAT
        scaled = np.where(usable, spread, 1.0)
        weights = block_weights(_evidence(left_out, positive, lead / scaled, weigh=weigh), spread)
        each = np.where(usable, weights / scaled, 0.0)
        lead, _, spread = _moments((each[..., None] * left_out).sum(axis=-2), positive)
        steepness = _steepness(lead, spread, images=len(positive))
        slopes = steepness[..., None] * np.where(usable.any(axis=-1, keepdims=True), each, weights)
        return cls(weights, slopes, -(slopes * middle).sum(axis=-1))


def _evidence(left_out: Float64Array, positive: BoolArray, lead: Float64Array, *, weigh: Weigh) -> Evidence:
    """Return what left-out scores (..., B, s) show; lead (..., B) of the means in standard deviations."""
    if weigh == "uniform":
        return Evidence.none(*lead.shape)
    if weigh == "auroc":
        return auroc_evidence(left_out, positive)
    folds = max(len(stratified_folds(positive)), 2)
    overlap = 1.0 + folds / (folds - 1)  # of the folds' training images: Nadeau and Bengio, Machine Learning 52, 2003
    student = lead / np.sqrt(overlap * (1.0 / positive.sum() + 1.0 / (~positive).sum()))
    return Evidence(student, 1.0 + student**2 / (2 * max(len(positive) - 2, 1)))  # of Student's t where there is a lead


def _moments(scores: Float64Array, positive: BoolArray) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return lead of the synthetic mean, middle of both, and standard deviation within classes: (...) each."""
    synthetic, natural = scores[..., positive], scores[..., ~positive]
    means = synthetic.mean(axis=-1), natural.mean(axis=-1)
    squares = (synthetic.var(axis=-1) * synthetic.shape[-1] + natural.var(axis=-1) * natural.shape[-1]) / max(
        scores.shape[-1] - 2, 1
    )
    return means[0] - means[1], (means[0] + means[1]) / 2, np.sqrt(squares)


def _steepness(lead: Float64Array, spread: Float64Array, *, images: int) -> Float64Array:
    """Return (...) log odds per unit of score; 1 where the score does not vary."""
    usable = spread > FLAT
    scaled = np.where(usable, spread, 1.0)
    unbiased = max(images - 4, 1) / max(images - 2, 1)  # the inverse of a variance from few images is too large
    return np.where(usable, np.maximum(unbiased * lead / scaled, _LEAST) / scaled, 1.0)
