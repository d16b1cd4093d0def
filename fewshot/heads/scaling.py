"""Features standardised dimension by dimension, and the contract of heads that stand on such features."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.core.errors import OptionError
from fewshot.heads.base import HEADS, Head
from fewshot.heads.state import HeadState, Learned
from fewshot.heads.transductive import TransductiveHead

_SOFT = 16.0  # four images squared: with so many a deviation goes half of the way
_BASE = "base."  # before the names of the base head's arrays


@dataclass(frozen=True)
class Scaling:
    """What standardises features: ``(features - mean) * factor``.

    Two images say little of a deviation, and a dimension in which they happen to lie together would outweigh all
    others. So the logarithm of a deviation of n images is drawn towards the mean logarithm of all dimensions, by the
    share 16 / (16 + n^2): half of the way at two shots, a twenty-sixth of it at ten (docs/concepts/scaling.md has the
    figures). On the logarithm, so that scales that really lie far apart stay apart. A dimension that is constant in
    these images is nought.

    Args:
        mean, factor: (D,) float64; the factor is nought where the images do not differ.
    """

    mean: Float64Array
    factor: Float64Array

    @classmethod
    def of(cls, features: FloatArray) -> "Scaling":
        """Return what standardises some images, by them alone: (n, D) floating."""
        rows = np.asarray(features, dtype=np.float64)
        varies = rows.max(0) > rows.min(0)
        deviation = np.where(varies, rows.std(0), 1.0)
        logarithm, share = np.log(deviation), _SOFT / (_SOFT + len(rows) ** 2)
        mean = logarithm[varies].mean() if varies.any() else 0.0
        drawn = np.exp((1 - share) * logarithm + share * mean)
        return cls(rows.mean(0), np.where(varies, 1.0 / drawn, 0.0))

    def apply(self, features: FloatArray) -> Float64Array:
        """Return standardised features: (n, D) float64."""
        scaled: Float64Array = (np.asarray(features, dtype=np.float64) - self.mean) * self.factor
        return scaled


class ScaledHead(Head, ABC):
    """Another head on standardised features; the features are wanted as stored.

    Args:
        base: the name of the other head, which takes any features of one view.
        parameters: of its constructor.

    Attributes:
        mean_, factor_: (D,) float64, see ``Scaling``.
        base_: the other head, fitted.
    """

    raw: ClassVar[bool] = True
    mean_: Float64Array
    factor_: Float64Array
    base_: Head

    def __init__(self, base: str = "svm", parameters: Mapping[str, Any] | None = None) -> None:
        self.base = base
        self.parameters = parameters

    @abstractmethod
    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit the other head on the support: features (n, D) floating as stored, (n,) two classes."""

    def base_head(self) -> Head:
        """Return the other head, unfitted.

        Raises:
            UnknownNameError: no head has this name.
            OptionError: one that does not take standardised features, or a parameter that it does not have.
        """
        kind: type[Head] = HEADS.load(self.base)
        if reason := why_not_scaled(kind):
            raise OptionError(f"the head {self.base!r} cannot stand on standardised features: {reason}; choose another")
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in (self.parameters or {}).items()}
        try:
            return kind(**copy.deepcopy(given))
        except TypeError as error:
            raise OptionError(f"the head {self.base!r} does not take the parameters {given} ({error})") from error

    def converged(self) -> Self:
        """Return the same head on a base that reaches its optimum, unfitted."""
        return type(self)(self.base, self.base_head().converged().get_params())

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) scores of the other head; larger = synthetic."""
        rows = self._check_query(features)
        return self.base_.decision_function(Scaling(self.mean_, self.factor_).apply(rows))

    def _fit_base(self, scaling: Scaling, rows: FloatArray, positive: BoolArray) -> Mapping[str, Any]:
        """Return what is learned of a support (n, D) that is standardised so: the scaling, and the base's arrays."""
        fitted = self.base_head().fit(scaling.apply(rows), positive.astype(np.int64))
        arrays = {f"{_BASE}{name}": array for name, array in fitted.state().arrays.items()}
        return {"mean_": scaling.mean, "factor_": scaling.factor, **arrays}

    def _declared(self) -> Mapping[str, Learned]:
        base = self._unlearned_base()
        return {"mean_": Learned("D"), "factor_": Learned("D"), **_prefixed(base._declared())}

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return {"mean_": self.mean_, "factor_": self.factor_, **_prefixed(self.base_.state().arrays)}

    def _learn(self, arrays: Mapping[str, Any]) -> None:
        super()._learn({name: array for name, array in arrays.items() if not name.startswith(_BASE)})
        of_base = {name.removeprefix(_BASE): v for name, v in arrays.items() if name.startswith(_BASE)}
        base = self._unlearned_base()
        base.classes_ = np.array([0, 1])
        self.base_ = Head.from_state(HeadState(of_base, _settings(base)))

    def _unlearned_base(self) -> Head:
        base = self.base_head()
        base.n_features_in_ = self.n_features_in_
        return base


def why_not_scaled(head: Head | type[Head]) -> str:
    """Return why a head does not take standardised features, as the end of a sentence; empty if it does."""
    if len(head.views) > 1:
        return "it looks at several views of an image"
    if head.raw:
        return "it takes features as they are stored"
    kind = head if isinstance(head, type) else type(head)
    return "it is transductive and defined on features of unit length" if issubclass(kind, TransductiveHead) else ""


def _prefixed(named: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{_BASE}{name}": value for name, value in named.items()}


def _settings(base: Head) -> dict[str, Any]:
    return {
        "head": base.name,
        "parameters": base.get_params(),
        "dimension": base.n_features_in_,
        "classes": {"values": [0, 1], "dtype": "<i8"},
    }
