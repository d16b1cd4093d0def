"""A Gaussian mixture of one class: what it finds unlikely belongs to the other."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray
from fewshot.core.errors import OptionError, unknown_name
from fewshot.heads.base import Head
from fewshot.heads.state import Learned

_LEAST_FLOOR = 1e-6  # added to variances where the share is 0, as of equal images
_CLASSES = ("natural", "synthetic")
_SCALES = {"diag": "k D", "spherical": "k D", "full": "k D D", "tied": "1 D D"}  # the shape of ``scales_``


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
        floor: smallest variance, as a share of the mean variance of the class; 1e-6 where that is 0.
        random_state: seed of k-means++ in the start of EM.

    Attributes:
        weights_: (k,) of the Gaussians; means_: (k, D).
        scales_: what makes a component's deviations standard normal: (k, D), or matrices (k, D, D), one of them where
            they are tied.
        threshold_: the log-likelihood at the quantile.
    """

    name: ClassVar[str] = "gmm"
    weights_: Float64Array
    means_: Float64Array
    scales_: Float64Array
    threshold_: float

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
        from sklearn.mixture import GaussianMixture

        rows, positive = self._check_support(features, y)
        own = np.asarray(rows, dtype=np.float64)[positive == (self.fit_on == "synthetic")]
        self._require_usable(len(own))
        floor = self.floor * float(own.var(axis=0).mean()) or _LEAST_FLOOR
        mixture = GaussianMixture(
            self.components,
            covariance_type=self.covariance,
            reg_covar=floor,
            init_params="k-means++",
            random_state=self.random_state,
        ).fit(own)
        weights, means, scales = mixture.weights_, mixture.means_, self._scales(mixture)
        threshold = np.quantile(_log_likelihood(own, weights, means, scales), self.quantile)
        self._learn({"weights_": weights, "means_": means, "scales_": scales, "threshold_": threshold})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log-likelihood ratios to the threshold; larger = synthetic."""
        rows = np.asarray(self._check_query(features), dtype=np.float64)
        short = self.threshold_ - _log_likelihood(rows, self.weights_, self.means_, self.scales_)
        scores: Float64Array = short if self.fit_on == "natural" else -short
        return scores

    def _declared(self) -> Mapping[str, Learned]:
        if self.covariance not in _SCALES:
            raise unknown_name("covariance", str(self.covariance), tuple(_SCALES))
        scales = _SCALES[self.covariance]
        return {
            "weights_": Learned("k"),
            "means_": Learned("k D"),
            "scales_": Learned(scales),
            "threshold_": Learned(""),
        }

    def _require_usable(self, images: int) -> None:
        """Refuse what could not be applied as given to so many images of the class."""
        for name, known in (("fit_on", _CLASSES), ("covariance", tuple(_SCALES))):
            if getattr(self, name) not in known:
                raise unknown_name(name, str(getattr(self, name)), known)
        if not 1 <= self.components <= images:
            raise OptionError(
                f"a mixture of {self.components} components needs as many images of the class it models, and the "
                f"support has {images}; give fewer components or more shots"
            )
        if not 0 <= self.quantile <= 1 or not self.floor >= 0:
            raise OptionError(
                f"quantile is {self.quantile} and floor {self.floor}; shares from 0 to 1 and from 0 are wanted"
            )

    def _scales(self, mixture: Any) -> Float64Array:
        """Return scikit-learn's Cholesky factors of the precisions in one of the two shapes of ``scales_``."""
        factors = np.asarray(mixture.precisions_cholesky_)
        if self.covariance == "spherical":
            return np.repeat(factors[:, None], mixture.means_.shape[1], axis=1)
        return factors[None] if self.covariance == "tied" else factors

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # one class is never seen
        return tags


def _log_likelihood(
    rows: Float64Array, weights: Float64Array, means: Float64Array, scales: Float64Array
) -> Float64Array:
    """Return (n,) the log of the mixture's density at rows (n, D)."""
    each = np.empty((len(means), len(rows)))
    for number, mean in enumerate(means):
        scale = scales[min(number, len(scales) - 1)]
        deviations = rows - mean
        standard = deviations * scale if scale.ndim == 1 else deviations @ scale
        volume = np.log(scale if scale.ndim == 1 else scale.diagonal()).sum()
        each[number] = volume - 0.5 * (len(mean) * np.log(2 * np.pi) + (standard**2).sum(axis=1))
    each += np.log(weights)[:, None]
    largest = each.max(axis=0)
    return np.asarray(largest + np.log(np.exp(each - largest).sum(axis=0)))
