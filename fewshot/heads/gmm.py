"""A Gaussian mixture of one class: what it finds unlikely belongs to the other."""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.mixture import GaussianMixture

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.heads.base import Head


class Gmm(Head):
    """One-class detection by likelihood, as in SDAIE (arXiv 2512.05651) and BLADES (arXiv 2507.22824).

    The score of an image is how far its log-likelihood falls under a low quantile of the class's own: 5 full
    components and the 2 % quantile in SDAIE (Ekko-zn/SDAIE @ 26afce5, oc_funs.py), 10 and 5 % in BLADES
    (MZMMSEC/AIGFD_BLO @ 4ac77a4, OC_GMM.py). Their mixtures see thousands of images; the defaults here are what a few
    can carry.

    Args:
        fit_on: the class that is modelled; the other one is not looked at.
        components: number of Gaussians.
        covariance: ``diag``, ``full``, ``tied`` or ``spherical``.
        quantile: share of the class's own images that fall beyond the threshold.
        floor: smallest variance, as a share of the mean variance of the class.
        random_state: seed of k-means++ in the start of EM.
    """

    name: ClassVar[str] = "gmm"

    def __init__(  # scikit-learn: one parameter per choice
        self,
        fit_on: Literal["natural", "synthetic"] = "natural",
        components: int = 1,
        covariance: Literal["diag", "full", "tied", "spherical"] = "diag",
        quantile: float = 0.02,
        floor: float = 0.01,
        random_state: int = 0,
    ) -> None:
        self.fit_on = fit_on
        self.components = components
        self.covariance = covariance
        self.quantile = quantile
        self.floor = floor
        self.random_state = random_state

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on one class of the support: features (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        own = np.asarray(rows, dtype=np.float64)[positive == (self.fit_on == "synthetic")]
        floor = self.floor * float(own.var(axis=0).mean()) or 1e-6
        self.mixture_ = GaussianMixture(
            self.components,
            covariance_type=self.covariance,
            reg_covar=floor,
            init_params="k-means++",
            random_state=self.random_state,
        ).fit(own)
        self.threshold_ = float(np.quantile(self.mixture_.score_samples(own), self.quantile))
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log-likelihood ratios to the threshold; larger = synthetic."""
        rows = np.asarray(self._check_query(features), dtype=np.float64)
        short = self.threshold_ - self.mixture_.score_samples(rows)
        scores: Float64Array = short if self.fit_on == "natural" else -short
        return scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # one class is never seen
        return tags
