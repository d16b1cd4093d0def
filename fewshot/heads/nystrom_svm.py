"""An RBF support vector machine for many images: Nystroem features and a linear SVM, in passes over blocks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray, spans
from fewshot.core.errors import OptionError
from fewshot.heads.base import Head
from fewshot.heads.state import Learned

Blocks = Callable[[], Iterable[tuple[FloatArray, FloatArray]]]

_BLOCK_ROWS = 4096
_PASSES = 50


class NystromSvm(Head):
    """The RBF SVM on a low-rank kernel (Williams and Seeger, NIPS 2000), squared hinge, solved by Newton's method.

    The kernel is replaced by that of its ``components`` landmarks; in their features the machine is linear and its
    primal optimum (Chapelle, Neural Computation 2007) is found in a few passes, so memory depends on the landmarks
    only. The optimum is that of scikit-learn's ``LinearSVC(dual=False)`` on the same features.

    Args:
        components: landmarks, drawn from the training images; all of them where they are fewer.
        C: weight of the losses against half the squared norm.
        gamma: of exp(-gamma d^2); ``scale`` is 1 / (D times the variance of all training values).
        random_state: the seed of the landmarks.

    Attributes:
        landmarks_: (m, D) float64; projection_: (m, k) float64, from their kernel to the features.
        coef_: (k,) float64, the features' weights; intercept_: the bias.
        gamma_: the width that ``scale`` came to.
    """

    name: ClassVar[str] = "nystrom-svm"
    learned: ClassVar[Mapping[str, Learned]] = {
        "landmarks_": Learned("m D"),
        "projection_": Learned("m k"),
        "coef_": Learned("k"),
        "intercept_": Learned(""),
        "gamma_": Learned(""),
    }
    landmarks_: Float64Array
    projection_: Float64Array
    coef_: Float64Array
    intercept_: float
    gamma_: float

    def __init__(
        self,
        *,
        components: int = 1000,
        C: float = 1.0,
        gamma: float | Literal["scale"] = "scale",
        random_state: int = 0,
    ) -> None:
        self.components = components
        self.C = C
        self.gamma = gamma
        self.random_state = random_state

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on features (n, D) and labels y (n,), the larger label synthetic."""
        rows, positive = self._check_support(features, y)
        if self.components < 1:
            raise OptionError(f"components is {self.components}; give 1 landmark or more")
        signs = np.where(positive, 1.0, -1.0)
        generator = np.random.default_rng(int(self.random_state))
        chosen = generator.permutation(len(rows))[: self.components]

        def blocks() -> Iterable[tuple[FloatArray, FloatArray]]:
            for start, stop in spans(len(rows), _BLOCK_ROWS):
                yield rows[start:stop], signs[start:stop]

        return self._solve(blocks, rows[np.sort(chosen)])

    def applied(self, images: int) -> Mapping[str, Any]:
        """Return the number of landmarks where there are fewer images than ``components``."""
        return {"components": images} if images < self.components else {}

    def fit_blocks(self, blocks: Blocks, landmarks: FloatArray) -> Self:
        """Fit in passes over blocks, none of which is kept.

        Args:
            blocks: every call starts a pass over (features (b, D), signs (b,): -1 natural, 1 synthetic).
            landmarks: (components, D) training images.
        """
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = landmarks.shape[1]
        return self._solve(blocks, landmarks)

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return the signed distance in units of the margin, larger = more likely synthetic: (n,) float64."""
        rows = self._check_query(features)
        kernel = _Landmarks(self.landmarks_, self.gamma_, self.projection_)
        parts = [
            kernel.mapped(rows[start:stop]) @ self.coef_ + self.intercept_
            for start, stop in spans(len(rows), _BLOCK_ROWS)
        ]
        return np.concatenate(parts)

    def _solve(self, blocks: Blocks, landmarks: FloatArray) -> Self:
        gamma = _scale_gamma(blocks) if self.gamma == "scale" else float(self.gamma)
        kernel = _Landmarks.of(np.asarray(landmarks, dtype=np.float64), gamma)
        coefficients = _minimum(blocks, kernel, C=self.C)
        self._learn(
            {
                "landmarks_": kernel.landmarks,
                "projection_": kernel.projection,
                "coef_": coefficients[:-1],
                "intercept_": coefficients[-1],
                "gamma_": gamma,
            }
        )
        return self


@dataclass(frozen=True)
class _Landmarks:
    """The kernel's low-rank features.

    Args:
        landmarks: (m, D) float64.
        gamma: of exp(-gamma d^2).
        projection: (m, k) float64, the inverse root of the landmarks' own kernel.
    """

    landmarks: Float64Array
    gamma: float
    projection: Float64Array

    @classmethod
    def of(cls, landmarks: Float64Array, gamma: float) -> Self:
        values, vectors = np.linalg.eigh(_kernel(landmarks, landmarks, gamma))
        kept = values > 1e-10 * values[-1]
        return cls(landmarks, gamma, np.ascontiguousarray(vectors[:, kept] / np.sqrt(values[kept])))

    def mapped(self, features: FloatArray) -> Float64Array:
        """Return the landmark features (n, k) float64 of features (n, D)."""
        return np.asarray(_kernel(features, self.landmarks, self.gamma) @ self.projection)

    def expand(self, features: FloatArray) -> Float64Array:
        """Return the landmark features with a constant for the intercept: (n, k + 1) float64."""
        mapped = self.mapped(features)
        return np.column_stack([mapped, np.ones(len(mapped))])


def _kernel(features: FloatArray, landmarks: Float64Array, gamma: float) -> Float64Array:
    rows = np.asarray(features, dtype=np.float64)
    squares = (rows**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1) - 2 * rows @ landmarks.T
    return np.asarray(np.exp(-gamma * np.maximum(squares, 0)))


@dataclass(frozen=True)
class _Objective:
    """w^2 / 2 + C sum max(0, 1 - s f)^2 at some weights, with its gradient (k + 1,) and Hessian (k + 1, k + 1)."""

    value: float
    gradient: Float64Array
    hessian: Float64Array


def _minimum(blocks: Blocks, kernel: _Landmarks, *, C: float) -> Float64Array:
    """Return the weights (k + 1,) of the least objective, by Newton's method with halved steps."""
    weights = np.zeros(kernel.projection.shape[1] + 1)
    here = _objective(blocks, kernel, weights, C=C)
    for _ in range(_PASSES):
        step, length = np.linalg.solve(here.hessian, here.gradient), 1.0
        if float(here.gradient @ step) <= 1e-12 * max(1.0, here.value):
            break
        while True:
            trial = weights - length * step
            found = _objective(blocks, kernel, trial, C=C)
            if found.value <= here.value or length < 1e-4:
                break
            length /= 2
        weights, here = trial, found
    return weights


def _objective(blocks: Blocks, kernel: _Landmarks, weights: Float64Array, *, C: float) -> _Objective:
    """Return the objective at ``weights`` in one pass over the blocks."""
    loss, gradient, hessian = 0.0, weights.copy(), np.eye(len(weights))
    for features, signs in blocks():
        expanded = kernel.expand(features)
        margins = signs * (expanded @ weights)
        short = margins < 1
        inside = expanded[short]
        loss += float(np.sum((1 - margins[short]) ** 2))
        gradient += 2 * C * (inside.T @ (signs[short] * (margins[short] - 1)))
        hessian += 2 * C * (inside.T @ inside)
    return _Objective(0.5 * float(weights @ weights) + C * loss, gradient, hessian)


def _scale_gamma(blocks: Blocks) -> float:
    count, total, squares, dimension = 0, 0.0, 0.0, 1
    for features, _ in blocks():
        values = np.asarray(features, dtype=np.float64)
        count, total, squares = count + values.size, total + values.sum(), squares + float((values**2).sum())
        dimension = values.shape[1]
    variance = squares / count - (total / count) ** 2
    return float(1.0 / (dimension * variance)) if variance > 0 else 1.0
