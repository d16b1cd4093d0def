"""The contract of heads that look at the unlabelled images of a batch, and not only at the labelled support."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import OptionError
from fewshot.heads.base import HEADS, Head

if TYPE_CHECKING:
    from fewshot.solvers.prepared_pool import Supports


class TransductiveHead(Head, ABC):
    """A head whose scores depend on the images that are scored together; their labels are never looked at.

    ``fit`` makes an ordinary head of the support alone. ``refined`` makes one of it that has also looked at unlabelled
    images. A score is then one of an image *in its batch*: another batch gives it another score, so that no threshold
    can be certified, and a report says of every number that it came about so.
    """

    @abstractmethod
    def refined(self, unlabelled: FloatArray) -> Self:
        """Return this fitted head after a look at unlabelled images; this one stays as it is.

        Args:
            unlabelled: (M, D) floating, prepared as for ``fit``; the support is not among them.

        Raises:
            NotFittedError: it is not fitted (scikit-learn's own).
        """

    def _fitted_alike(self) -> Self:
        """Return a copy with the same classes and dimension, whose arrays are still to be learned."""
        again = self.unfitted()
        again.n_features_in_, again.classes_ = self.n_features_in_, self.classes_
        return again

    @abstractmethod
    def _at_once(self, drawn: "Supports", queries: BoolArray | None) -> FloatArray | None:
        """Return (T, N) scores of all draws, refined by their queries (T, N) where there are some.

        None where there is no such form, so that draws are scored one after another.
        """

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score all draws by their supports alone."""
        from fewshot.solvers.prepared_pool import Supports

        found = self._at_once(Supports(features, synthetic, supports, device), None)
        return self.score_draws_one_by_one(features, synthetic, supports) if found is None else found

    def score_draws_with(
        self,
        features: FloatArray,
        synthetic: BoolArray,
        supports: IntArray,
        queries: BoolArray,
        *,
        device: str = "cpu",
    ) -> FloatArray:
        """Do what ``score_draws`` does with heads that have looked at the query images of their own draw.

        Args:
            features: (N, D) floating, the pool.
            synthetic: (N,) bool, of which only the supports' are read.
            supports: (T, s) int64 rows of the pool.
            queries: (T, N) bool, the unlabelled images of every draw.
            device: where batched heads compute.

        Returns:
            (T, N) floating scores.
        """
        from fewshot.solvers.prepared_pool import Supports

        found = self._at_once(Supports(features, synthetic, supports, device), queries)
        if found is None:
            return self.score_draws_with_one_by_one(features, synthetic, supports, queries)
        return found

    def score_draws_with_one_by_one(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, queries: BoolArray
    ) -> Float64Array:
        """Do what ``score_draws_with`` does, by one ``fit`` and one ``refined`` per draw."""
        scores = np.empty((len(supports), len(features)))
        for trial, support in enumerate(supports):
            fitted = self.unfitted().fit(features[support], synthetic[support].astype(np.int64))
            scores[trial] = fitted.refined(features[queries[trial]]).decision_function(features)
        return scores


def nearer(rows: FloatArray, means: FloatArray) -> Float64Array:
    """Return how much nearer rows (M, D) lie to the second of two means (2, D) than to the first, in squares: (M,)."""
    squares = (means**2).sum(1)
    return np.asarray(2 * rows @ (means[1] - means[0]) + (squares[0] - squares[1]), dtype=np.float64)


def inductive_head(name: str) -> Head:
    """Return a head by its name for a detector, whose thresholds hold for one image whatever comes with it.

    Raises:
        UnknownNameError: no such head.
        OptionError: it is transductive.
    """
    head: Head = HEADS.load(name)()
    if isinstance(head, TransductiveHead):
        raise OptionError(
            f"the head {name!r} is transductive: the score of an image depends on the images scored with it, so that "
            f"no threshold can be certified, and a detector cannot stand on it; choose another --head, for example svm"
        )
    return head
