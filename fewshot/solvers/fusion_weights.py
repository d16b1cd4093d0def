"""The weights of several blocks of features in one head, from what the support alone shows of each.

Evidence is a statistic per block whose standard deviation is about 1 where the block tells the classes apart no better
than chance, so that blocks of any dimension, and any number of shots, are on one scale. Why these statistics and this
shrinkage: docs/decisions/0016-fusion-weights.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array
from fewshot.core.errors import unknown_name
from fewshot.solvers.blocks import stratified_folds

Weigh = Literal["alignment", "auroc", "uniform"]
POWER = 2.0  # 1 is right for evidence without noise; 2 silences blocks of noise
FLAT = 1e-12  # a kernel or score that varies less tells no two images apart
_TIED = 1e-9  # scores of equal images differ by rounding, and by what a solver leaves


@dataclass(frozen=True)
class Evidence:
    """What every block shows of the classes.

    Args:
        strength: (..., B) float64, of mean 0 and standard deviation about 1 under chance; 0 or less is none.
        variance: (..., B) float64, of the strength over other supports; 1 under chance.
    """

    strength: Float64Array
    variance: Float64Array

    @classmethod
    def none(cls, *shape: int) -> "Evidence":
        """Return evidence that speaks for no block."""
        return cls(np.zeros(shape), np.ones(shape))

    def shrunk(self) -> Float64Array:
        """Return the strengths (..., B) moved towards their mean as far as chance explains the differences.

        Efron and Morris (JASA 70, 1975), cut off at the mean: blocks that differ as much as equal ones would are
        treated alike, and one that stands out keeps its lead. Three blocks and fewer stay as they are.
        """
        mean = self.strength.mean(axis=-1, keepdims=True)
        apart = ((self.strength - mean) ** 2).sum(axis=-1, keepdims=True)
        expected = max(self.strength.shape[-1] - 3, 0) * self.variance.mean(axis=-1, keepdims=True)
        share = np.maximum(1.0 - expected / np.maximum(apart, FLAT), 0.0)
        return np.asarray(mean + share * (self.strength - mean))


def block_weights(evidence: Evidence, spread: Float64Array) -> Float64Array:
    """Return the weights of blocks that were brought to one spread: shrunk evidence, squared.

    Args:
        evidence: of B blocks.
        spread: (..., B) float64, standard deviation of the block's kernel or scores.

    Returns:
        (..., B) float64, 0 or more, adding up to 1: 0 for a block that does not vary, all others equal where none shows
        anything.
    """
    usable = np.asarray(spread > FLAT, dtype=np.float64)
    found = Evidence(evidence.strength * usable, evidence.variance).shrunk()
    strength = usable * np.maximum(found, 0.0) ** POWER
    even = np.where(usable.any(axis=-1, keepdims=True), usable, 1.0)
    return _shares(np.where(strength.any(axis=-1, keepdims=True), strength, even))


def kernel_coefficients(weights: Float64Array, spread: Float64Array) -> Float64Array:
    """Return what kernels are multiplied with: weights over spreads, (..., B) float64, adding up to 1."""
    usable = spread > FLAT
    found = np.where(usable, weights / np.where(usable, spread, 1.0), 0.0)
    return _shares(np.where(found.any(axis=-1, keepdims=True), found, weights))


@dataclass(frozen=True)
class KernelWeights:
    """How much each kernel counts, and what it is multiplied with: (..., B) float64 each, adding up to 1."""

    weights: Float64Array
    coefficients: Float64Array


def weigh_kernels(
    kernels: Float64Array, positive: BoolArray, *, weigh: Weigh, left_out: Callable[[], Float64Array]
) -> KernelWeights:
    """Return the weights of kernels by what they show of the classes on the support.

    Args:
        kernels: (..., B, s, s) float64.
        positive: (s,) bool.
        left_out: called only where cross-validated AUROC weighs: (..., B, s) scores by machines on the other folds.

    Raises:
        UnknownNameError: no such way of weighing.
    """
    require_weigh(weigh)
    spread = kernel_spread(kernels)
    if weigh == "uniform":
        evidence = Evidence.none(*spread.shape)
    elif weigh == "alignment":
        evidence = alignment_evidence(kernels, np.where(positive, 1.0, -1.0))
    else:
        evidence = auroc_evidence(left_out(), positive)
    weights = block_weights(evidence, spread)
    return KernelWeights(weights, kernel_coefficients(weights, spread))


def _shares(values: Float64Array) -> Float64Array:
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


def kernel_spread(kernels: Float64Array) -> Float64Array:
    """Return (...) the standard deviation of the off-diagonal entries of kernels (..., s, s)."""
    spread: Float64Array = kernels[..., ~np.eye(kernels.shape[-1], dtype=bool)].std(axis=-1)
    return spread


def alignment_evidence(kernels: Float64Array, signs: Float64Array) -> Evidence:
    """Return how well each kernel is aligned with the classes, in standard deviations of chance.

    The correlation of the two matrices without their diagonals, rows and columns centred without bias (Szekely and
    Rizzo, Annals of Statistics 42, 2014, U-centring; the centring of Cortes, Mohri and Rostamizadeh, JMLR 13, 2012,
    counts an image's likeness to itself). Under chance its variance is 2 / (s (s - 3)) in s images. Where there is
    something to see, most of the variance comes from which images were drawn: four times that of an image's part in
    the sum, over s (Hoeffding, Annals of Mathematical Statistics 19, 1948).

    Args:
        kernels: (..., B, s, s) float64.
        signs: (..., s) float64: 1 synthetic, -1 natural.

    Returns:
        Of B blocks; none for a kernel that does not vary, and in fewer than four images.
    """
    shots = kernels.shape[-1]
    if shots < 4:
        return Evidence.none(*kernels.shape[:-2])
    centred, wanted = _centred(kernels), _centred(signs[..., None, :, None] * signs[..., None, None, :])
    lengths = np.sqrt((centred**2).sum(axis=(-2, -1)) * (wanted**2).sum(axis=(-2, -1)))
    scale = np.sqrt(shots * (shots - 3) / 2) / np.where(lengths > FLAT, lengths, 1.0)
    images = (centred * wanted).sum(axis=-1)
    drawn = 4 * shots * scale**2 * images.var(axis=-1, ddof=1) - 1  # chance alone makes the first term 2
    return Evidence(scale * images.sum(axis=-1), np.maximum(drawn, 1.0))


def _centred(matrices: NDArray[Any]) -> Float64Array:
    """Return symmetric matrices (..., s, s) with a zero diagonal, and zero sums of rows and columns."""
    shots = matrices.shape[-1]
    between = ~np.eye(shots, dtype=bool)
    entries = np.where(between, matrices, 0.0)
    rows = entries.sum(axis=-1)
    whole = rows.sum(axis=-1)[..., None, None] / ((shots - 1) * (shots - 2))
    return np.where(between, entries - (rows[..., :, None] + rows[..., None, :]) / (shots - 2) + whole, 0.0)


def auroc_evidence(left_out: Float64Array, positive: BoolArray) -> Evidence:
    """Return the lead over 1/2 of the mean AUROC of the folds, in standard deviations of chance.

    Args:
        left_out: (..., B, s) float64, the score of every image by a head fitted on the other folds.
        positive: (s,) bool.

    Returns:
        Of B blocks; none where the support has no folds.
    """
    folds = stratified_folds(positive)
    none = Evidence.none(*left_out.shape[:-1])
    if not folds:
        return none
    mean = np.mean([_auroc(left_out[..., rows], positive[rows]) for rows in folds], axis=0)
    natural, synthetic = int((~positive).sum()), int(positive.sum())
    chance = np.sqrt((natural + synthetic + 1) / (12 * natural * synthetic))  # of Mann and Whitney's statistic
    return Evidence(np.asarray((mean - 0.5) / chance), none.variance)


def _auroc(scores: Float64Array, positive: BoolArray) -> Float64Array:
    lead = scores[..., positive][..., :, None] - scores[..., ~positive][..., None, :]
    return np.asarray(np.where(np.abs(lead) <= _TIED, 0.5, lead > 0).mean(axis=(-2, -1)))


def require_weigh(weigh: str) -> None:
    """Raise unless there is such a way of weighing.

    Raises:
        UnknownNameError: there is not.
    """
    if weigh not in get_args(Weigh):
        raise unknown_name("way of weighing backbones", str(weigh), get_args(Weigh))
