"""Another head on features that the unlabelled images of the batch standardise: transductive."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.heads.scaling import ScaledHead, Scaling
from fewshot.heads.state import Learned
from fewshot.heads.transductive import TransductiveHead


class PoolStandardised(ScaledHead, TransductiveHead):
    """Standardise every dimension by mean and deviation of unlabelled images, and let another head do the rest.

    Until it has looked at such images (``refined``) its own support standardises, as in the head ``standardised``.

    Attributes:
        support_: (n, D) float64, as stored; positive_: (n,) bool. What the other head is fitted on again.
    """

    name: ClassVar[str] = "pool-standardised"
    support_: Float64Array
    positive_: BoolArray

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support alone: features (n, D) floating as stored, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        exact = np.asarray(rows, dtype=np.float64)
        learned = self._fit_base(Scaling.of(exact), exact, positive)
        self._learn({**learned, "support_": exact, "positive_": positive})
        return self

    def refined(self, unlabelled: FloatArray) -> Self:
        """Return the head fitted on the same support, standardised by unlabelled images: (M, D) floating, as stored."""
        rows = self._check_query(unlabelled)
        again = self.unfitted()
        again.n_features_in_, again.classes_ = self.n_features_in_, self.classes_
        learned = again._fit_base(Scaling.of(rows), self.support_, self.positive_)
        again._learn({**learned, "support_": self.support_, "positive_": self.positive_})
        return again

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score all draws at once, each standardised by its own support, where the other head has such a form."""
        from fewshot.solvers.prepared_pool import Supports
        from fewshot.solvers.standardised import standardised_scores, support_scales

        drawn = Supports(features, synthetic, supports, device)
        base = self.base_head()
        found = standardised_scores(drawn, support_scales, base=base.name, parameters=base.get_params())
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
        """Score all draws at once, each standardised by its own queries, where the other head has such a form."""
        from fewshot.solvers.prepared_pool import Supports
        from fewshot.solvers.standardised import query_scales, standardised_scores

        drawn = Supports(features, synthetic, supports, device)
        base = self.base_head()
        scales = query_scales(queries)
        found = standardised_scores(drawn, scales, base=base.name, parameters=base.get_params())
        if found is None:
            return self.score_draws_with_one_by_one(features, synthetic, supports, queries)
        return found

    def _declared(self) -> Mapping[str, Learned]:
        return {**super()._declared(), "support_": Learned("rows D"), "positive_": Learned("rows", bool)}

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return {**super()._arrays(), "support_": self.support_, "positive_": self.positive_}
