"""An RBF support vector machine for many images: Nystroem features and a linear SVM, in passes over blocks."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head, two_classes

Blocks = Callable[[], Iterable[tuple[FloatArray, FloatArray]]]

_BLOCK_ROWS = 4096
_PASSES = 50


class NystromSvm(Head):
    """The RBF SVM on a low-rank kernel (Williams and Seeger, NIPS 2000), squared hinge, solved by Newton's method.

    The kernel is replaced by that of its ``components`` landmarks; in their features the machine is linear and its
    primal optimum (Chapelle, Neural Computation 2007) is found in a few passes, so memory depends on the landmarks
    only. The optimum is that of scikit-learn's ``LinearSVC(dual=False)`` on the same features.

    Args:
        components: landmarks, drawn from the training images.
        C: weight of the losses against half the squared norm.
        gamma: of exp(-gamma d^2); ``scale`` is 1 / (D times the variance of all training values).
        random_state: the seed of the landmarks.
    """

    name: ClassVar[str] = "nystrom-svm"

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
        features, labels = validate_data(self, features, y)
        self.classes_ = two_classes(labels)
        signs = np.where(labels == self.classes_[1], 1.0, -1.0)
        generator = np.random.default_rng(int(self.random_state))
        chosen = generator.permutation(len(features))[: self.components]

        def blocks() -> Iterable[tuple[FloatArray, FloatArray]]:
            for start in range(0, len(features), _BLOCK_ROWS):
                yield features[start : start + _BLOCK_ROWS], signs[start : start + _BLOCK_ROWS]

        return self._solve(blocks, features[np.sort(chosen)])

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
        check_is_fitted(self)
        features = validate_data(self, features, reset=False)
        parts = [self._expand(features[i : i + _BLOCK_ROWS]) @ self.coef_ for i in range(0, len(features), _BLOCK_ROWS)]
        return np.concatenate(parts)

    def _solve(self, blocks: Blocks, landmarks: FloatArray) -> Self:
        self.landmarks_ = np.asarray(landmarks, dtype=np.float64)
        self.gamma_ = _scale_gamma(blocks) if self.gamma == "scale" else float(self.gamma)
        values, vectors = np.linalg.eigh(self._kernel(self.landmarks_))
        kept = values > 1e-10 * values[-1]
        self.projection_ = vectors[:, kept] / np.sqrt(values[kept])
        weights = np.zeros(int(kept.sum()) + 1)
        objective, gradient, curvature = self._pass(blocks, weights)
        for _ in range(_PASSES):
            step, length = np.linalg.solve(curvature, gradient), 1.0
            if float(gradient @ step) <= 1e-12 * max(1.0, objective):
                break
            while True:
                trial = weights - length * step
                found = self._pass(blocks, trial)
                if found[0] <= objective or length < 1e-4:
                    break
                length /= 2
            weights, (objective, gradient, curvature) = trial, found
        self.coef_ = weights
        return self

    def _pass(self, blocks: Blocks, weights: Float64Array) -> tuple[float, Float64Array, Float64Array]:
        """Return objective, gradient and curvature of w^2 / 2 + C sum max(0, 1 - s f)^2 at ``weights``."""
        loss, gradient, curvature = 0.0, weights.copy(), np.eye(len(weights))
        for features, signs in blocks():
            expanded = self._expand(features)
            margins = signs * (expanded @ weights)
            short = margins < 1
            inside = expanded[short]
            loss += float(np.sum((1 - margins[short]) ** 2))
            gradient += 2 * self.C * (inside.T @ (signs[short] * (margins[short] - 1)))
            curvature += 2 * self.C * (inside.T @ inside)
        return 0.5 * float(weights @ weights) + self.C * loss, gradient, curvature

    def _expand(self, features: FloatArray) -> Float64Array:
        """Return the landmark features with a constant for the intercept: (n, kept + 1) float64."""
        mapped = self._kernel(features) @ self.projection_
        return np.column_stack([mapped, np.ones(len(mapped))])

    def _kernel(self, features: FloatArray) -> Float64Array:
        rows = np.asarray(features, dtype=np.float64)
        squares = (rows**2).sum(axis=1)[:, None] + (self.landmarks_**2).sum(axis=1) - 2 * rows @ self.landmarks_.T
        return np.asarray(np.exp(-self.gamma_ * np.maximum(squares, 0)))


def _scale_gamma(blocks: Blocks) -> float:
    count, total, squares, dimension = 0, 0.0, 0.0, 1
    for features, _ in blocks():
        values = np.asarray(features, dtype=np.float64)
        count, total, squares = count + values.size, total + values.sum(), squares + float((values**2).sum())
        dimension = values.shape[1]
    variance = squares / count - (total / count) ** 2
    return float(1.0 / (dimension * variance)) if variance > 0 else 1.0
