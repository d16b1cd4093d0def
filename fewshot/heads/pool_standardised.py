"""Another head on features that the unlabelled images of the batch standardise: transductive."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.heads.scaling import ScaledHead, Scaling
from fewshot.heads.state import Learned
from fewshot.heads.transductive import TransductiveHead

if TYPE_CHECKING:
    from fewshot.solvers.prepared_pool import Supports


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
        again = self._fitted_alike()
        learned = again._fit_base(Scaling.of(rows), self.support_, self.positive_)
        again._learn({**learned, "support_": self.support_, "positive_": self.positive_})
        return again

    def _at_once(self, drawn: "Supports", queries: BoolArray | None) -> FloatArray | None:
        from fewshot.solvers.standardised import query_scales, standardised_scores, support_scales

        scales = support_scales if queries is None else query_scales(queries)
        base = self.base_head()
        return standardised_scores(drawn, scales, base=base.name, parameters=base.get_params())

    def _declared(self) -> Mapping[str, Learned]:
        return {**super()._declared(), "support_": Learned("rows D"), "positive_": Learned("rows", bool)}

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return {**super()._arrays(), "support_": self.support_, "positive_": self.positive_}
