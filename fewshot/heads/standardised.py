"""Another head on features that its own support standardises, instead of features of unit length."""

from typing import Any, ClassVar, Self

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.heads.scaling import ScaledHead, Scaling


class Standardised(ScaledHead):
    """Standardise every dimension by mean and deviation of the support, and let another head do the rest.

    No query is looked at. Unit length is a matter of directions, and one dimension of large values decides it;
    standardising makes dimensions of unlike scales equals. It helps spectra and summaries of residuals, and costs
    semantic features a little (docs/concepts/scaling.md). Where images are few, deviations are
    drawn towards each other, see ``Scaling``.
    """

    name: ClassVar[str] = "standardised"

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating as stored, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        self._learn(self._fit_base(Scaling.of(rows), rows, positive))
        return self

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score all draws at once where the other head has such a form (``fewshot.solvers.standardised``)."""
        found = self._at_once(features, synthetic, supports, None, device=device)
        return self.score_draws_one_by_one(features, synthetic, supports) if found is None else found

    def score_rows(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, rows: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score some rows of all draws at once where the other head has such a form, and no other row."""
        found = self._at_once(features, synthetic, supports, rows, device=device)
        return super().score_rows(features, synthetic, supports, rows, device=device) if found is None else found

    def _at_once(
        self,
        features: FloatArray,
        synthetic: BoolArray,
        supports: IntArray,
        rows: IntArray | None,
        *,
        device: str,
    ) -> FloatArray | None:
        from fewshot.solvers.prepared_pool import Supports
        from fewshot.solvers.standardised import standardised_scores, support_scales

        drawn, base = Supports(features, synthetic, supports, device), self.base_head()
        options: dict[str, Any] = {"base": base.name, "parameters": base.get_params(), "queried": rows}
        return standardised_scores(drawn, support_scales, **options)
