"""Linear discriminant analysis with a shrunk covariance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import OptionError
from fewshot.heads.base import Head
from fewshot.heads.state import Learned


class Lda(Head):
    """Fisher's discriminant (Annals of Eugenics 7, 1936) with Ledoit and Wolf's shrinkage of each class's covariance.

    scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr")`` to rounding, solved in the span of the support.

    Args:
        shrinkage: between 0 and 1; ``"auto"`` for Ledoit and Wolf's (Journal of Multivariate Analysis 88, 2004).
    """

    name: ClassVar[str] = "lda"
    learned: ClassVar[Mapping[str, Learned]] = {"coef_": Learned("1 D"), "intercept_": Learned("1")}
    coef_: FloatArray
    intercept_: FloatArray

    def __init__(self, shrinkage: float | str = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes.

        Raises:
            OptionError: another shrinkage.
        """
        _require_shrinkage(self.shrinkage)
        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        sides = [exact[~positive], exact[positive]]
        shares = [len(side) / len(exact) for side in sides]
        means = [side.mean(axis=0) for side in sides]
        within = _Covariance.mean([_Covariance.of(side, self.shrinkage) for side in sides], shares)
        direction = within.solve(means[1] - means[0])
        bias = np.log(shares[1] / shares[0]) - (means[0] + means[1]) @ direction / 2
        self._learn({"coef_": direction[None], "intercept_": np.array([bias])})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic."""
        rows = self._check_query(features)
        return np.asarray((rows @ self.coef_.T + self.intercept_)[:, 0], dtype=np.float64)


def _require_shrinkage(shrinkage: float | str) -> None:
    if shrinkage != "auto" and (isinstance(shrinkage, str) or not 0 <= shrinkage <= 1):
        raise OptionError(f"the shrinkage of the head lda is {shrinkage!r}; give 'auto' or a number between 0 and 1")


@dataclass(frozen=True)
class _Covariance:
    """A shrunk covariance: a diagonal and a product of few rows, diag(diagonal) + factor' factor, never written out.

    With ten images a class and a thousand columns it is solved in the span of the images (Woodbury's identity), some
    hundred times as fast as a matrix of all columns, to rounding.

    Args:
        diagonal: (D,) float64; factor: (n, D) float64.
    """

    diagonal: Float64Array
    factor: Float64Array

    @classmethod
    def of(cls, rows: Float64Array, shrinkage: float | str) -> "_Covariance":
        """Return the covariance of one class; ``auto`` standardises the columns and shrinks as Ledoit and Wolf do."""
        centred = rows - rows.mean(axis=0)
        if shrinkage != "auto":
            target = (centred**2).mean()
            share = float(shrinkage)
            return cls(np.full(rows.shape[1], share * target), np.sqrt((1 - share) / len(rows)) * centred)
        deviation = centred.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        standard = centred / scale
        share = _ledoit_wolf_share(standard)
        factor = np.sqrt((1 - share) / len(rows)) * centred
        return cls(share * (standard**2).mean() * scale**2, factor)

    @classmethod
    def mean(cls, parts: Sequence["_Covariance"], shares: Sequence[float]) -> "_Covariance":
        """Return the covariance within classes, each with its share of the images."""
        diagonal = sum(share * part.diagonal for part, share in zip(parts, shares, strict=True))
        factor = [np.sqrt(share) * part.factor for part, share in zip(parts, shares, strict=True)]
        return cls(np.asarray(diagonal), np.concatenate(factor))

    def solve(self, vector: Float64Array) -> Float64Array:
        """Return (D,) covariance^-1 vector; the least solution where the covariance has no inverse."""
        if not (self.diagonal > 0).all():
            whole = np.diag(self.diagonal) + self.factor.T @ self.factor
            least: Float64Array = np.asarray(np.linalg.lstsq(whole, vector, rcond=None)[0], dtype=np.float64)
            return least
        scaled = self.factor / self.diagonal
        inner = np.eye(len(self.factor)) + scaled @ self.factor.T
        found: Float64Array = vector / self.diagonal - scaled.T @ np.linalg.solve(inner, scaled @ vector)
        return found


def _ledoit_wolf_share(rows: Float64Array) -> float:
    """Return how far Ledoit and Wolf draw the covariance of centred rows (n, D) to a multiple of the identity, 0 to 1.

    What scikit-learn's ``ledoit_wolf_shrinkage`` sums over pairs of columns is summed over pairs of rows.
    """
    images, columns = rows.shape
    squares = rows**2
    mean = squares.sum() / (images * columns)
    products = ((rows @ rows.T) ** 2).sum() / images**2
    distance = (products - columns * mean**2) / columns
    noise = min(((squares.sum(axis=1) ** 2).sum() / images - products) / (columns * images), distance)
    return float(noise / distance) if noise else 0.0
