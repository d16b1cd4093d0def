"""What every head is: a scikit-learn estimator fitted on a few features, scoring synthetic high."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray, unit_rows
from fewshot.core.errors import WeightsError
from fewshot.core.registry import Registry
from fewshot.heads.estimator import Estimator, checked_query, checked_support
from fewshot.heads.state import HeadState, Learned, json_values

CONVERGED = 1e-10  # the tolerance to which all draws at once are solved
_LABEL_BYTES = 1024
HEADS = Registry(group="fewshot.heads", kind="head")


class Head(Estimator, ABC):
    """A small classifier on frozen features; constructors only store, learned values end in an underscore.

    The labels are called ``y`` because scikit-learn's estimator checks ask for that name. Members may override
    ``score_draws`` with something faster than one fit after another; the results are the same.

    A fitted head is its ``state``: arrays and JSON, from which ``from_state`` makes a head with the same scores, bit by
    bit. A member declares in ``learned`` what it scores from and hands it to ``_learn`` when it is fitted.
    """

    name: ClassVar[str]
    raw: ClassVar[bool] = False  # whether features are wanted as stored, not of unit length
    views: ClassVar[tuple[str, ...]] = ("clean",)  # what the head looks at; ``prepare`` makes one matrix of several
    takes_replay: ClassVar[bool] = False  # whether it is fitted beside images of the old domain
    learned: ClassVar[Mapping[str, Learned]]  # attribute -> what is learned; all that the scores are computed from

    @abstractmethod
    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, y (n,) with 0 natural and 1 synthetic."""

    @abstractmethod
    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) float64 scores of features (M, D); larger = more likely synthetic, 0 is the threshold."""

    def prepare(self, features: Mapping[str, FloatArray], *, normalised: bool, what: str = "features") -> FloatArray:
        """Return what ``fit`` and ``decision_function`` take, of one image as of a whole store.

        Args:
            features: view -> (n, D) floating as stored, for each of the head's ``views`` in their order.
            normalised: whether the stored features are of unit length already.
            what: what the rows are, for the message, for example ``"layer 'pooled' of 'npr'"``.

        Returns:
            (n, D') floating: unit length, raw, or columns made of several views.

        Raises:
            InputError: a row that is to be of unit length is zero.
        """
        (only,) = features.values()
        return only if self.raw or normalised else unit_rows(only, what=what)

    def predict(self, features: FloatArray) -> Any:
        """Return the class of each row: (M,), by the sign of the score."""
        scores = np.asarray(self.decision_function(features))
        classes: Any = self.classes_
        return classes[(scores > 0).astype(int)]

    def applied(self, images: int) -> Mapping[str, Any]:
        """Return the parameters that a support of so many images does not allow as given, and what is applied."""
        return {}

    def with_replay(self, features: FloatArray, synthetic: BoolArray) -> Self:
        """Return an unfitted copy that is fitted beside images of the old domain; most heads take no notice of them.

        Args:
            features: (r, D) floating as the head wants them; synthetic: (r,) bool.
        """
        return self.unfitted()

    def converged(self) -> Self:
        """Return the same head, unfitted, whose single fits reach the optimum that ``score_draws`` solves for.

        Members whose published solver stops early override it; the others have one answer.
        """
        return self.unfitted()

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Fit one copy of this head per draw and score the whole pool with each.

        Args:
            features: (N, D) floating, the pool.
            synthetic: (N,) bool.
            supports: (T, s) int64 rows of the pool.
            device: where batched heads compute; heads without a batched form use the CPU.

        Returns:
            (T, N) floating scores.
        """
        return self.score_draws_one_by_one(features, synthetic, supports)

    def score_rows(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, rows: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Return the scores of some rows of the pool by one copy of this head per draw: rows (T, m) int64, (T, m).

        Members override it where scoring the whole pool would cost much more than scoring a few rows of it.
        """
        scores = self.score_draws(features, synthetic, supports, device=device)
        return np.asarray(np.take_along_axis(scores, rows, axis=1))

    def score_draws_one_by_one(self, features: FloatArray, synthetic: BoolArray, supports: IntArray) -> Float64Array:
        """Do what ``score_draws`` does, by one ``fit`` and one ``decision_function`` per draw."""
        scores = np.empty((len(supports), len(features)))
        for trial, support in enumerate(supports):
            fitted = self.unfitted().fit(features[support], synthetic[support].astype(np.int64))
            scores[trial] = fitted.decision_function(features)
        return scores

    def state(self) -> HeadState:
        """Return the fitted head as arrays and JSON values.

        Raises:
            NotFittedError: it is not fitted (scikit-learn's own).
            OptionError: a parameter that JSON cannot hold.
        """
        self._require_fitted()
        classes = np.asarray(self.classes_)
        settings = {
            "head": self.name,
            "parameters": json_values(self.get_params(), head=self.name),
            "dimension": int(self.n_features_in_),
            "classes": {"values": classes.tolist(), "dtype": classes.dtype.str},
        }
        return HeadState(self._arrays(), settings)

    @classmethod
    def from_state(cls, state: HeadState) -> Self:
        """Return the fitted head that a state describes; ``Head.from_state`` finds the class by the state's name.

        Raises:
            UnknownNameError: no head has the state's name.
            WeightsError: the state is of another head, or its arrays or settings are not this head's.
        """
        name = str(state.settings["head"])
        kind: type[Self] = HEADS.load(name) if cls is Head else cls
        if kind.name != name:
            raise WeightsError(f"the state is of the head {name!r} and not of {kind.name!r}; use Head.from_state")
        head = kind._configured(state.settings)
        head._learn(state.checked(head._declared()))
        return head

    @classmethod
    def _configured(cls, settings: Mapping[str, Any]) -> Self:
        """Return a head with the parameters, dimension and classes of a state, its arrays still to come."""
        try:
            parameters = {
                name: tuple(value) if isinstance(value, list) else value  # JSON knows no tuples, parameters no lists
                for name, value in settings["parameters"].items()
            }
            head = cls(**parameters)
            head.n_features_in_ = int(settings["dimension"])
            head.classes_ = two_classes(_labels(**settings["classes"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"the settings of the saved head {cls.name!r} cannot be used ({error}); fit it and save it again, or "
                f"install the version of fewshot that saved it"
            ) from error
        return head

    def _declared(self) -> Mapping[str, Learned]:
        """Return what the head scores from, given its parameters and ``n_features_in_``."""
        return self.learned

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return what was learned, as declared."""
        return {name: np.asarray(getattr(self, name)) for name in self._declared()}

    def _learn(self, arrays: Mapping[str, Any]) -> None:
        """Take what was learned, from a fit as from a file.

        Both come through here, so that they lie alike in memory: matrix products round differently in other layouts.
        Single numbers become Python's.
        """
        for name, value in arrays.items():
            array = np.array(value, order="C")
            setattr(self, name, array if array.ndim else array.item())

    def _require_fitted(self) -> None:
        if "classes_" not in vars(self):
            from sklearn.utils.validation import check_is_fitted

            check_is_fitted(self)

    def _check_support(
        self, features: FloatArray, y: Any, *, dtype: type[np.floating[Any]] | None = None
    ) -> tuple[FloatArray, BoolArray]:
        """Check a support and learn ``classes_``: (n, D) floating and (n,) bool, true for the second class."""
        rows, labels = checked_support(self, features, y, dtype=dtype)
        self.classes_ = two_classes(labels)
        return rows, np.asarray(labels == self.classes_[1])

    def _check_query(self, features: FloatArray, *, dtype: type[np.floating[Any]] | None = None) -> FloatArray:
        """Check rows to be scored: (M, D) floating."""
        return checked_query(self, features, dtype=dtype)


def unit_length(rows: FloatArray) -> FloatArray:
    """Return rows divided by their length, in their own precision; a zero row stays zero: (n, D)."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = rows / np.where(lengths > 0, lengths, lengths.dtype.type(1))
    return unit


def _labels(values: Any, dtype: str) -> NDArray[Any]:
    """Return labels that a file names; their type is bounded, for a forged one asks for any amount of memory."""
    kind = np.dtype(dtype)
    if kind.kind not in "biufUS" or kind.itemsize > _LABEL_BYTES:
        raise ValueError(f"labels of the type {dtype}")
    return np.array(values, kind)


def two_classes(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the two labels among ``labels`` (n,), ascending: natural, then synthetic.

    Raises:
        ValueError: not two classes (in the wording that scikit-learn's checks ask for).
    """
    classes = np.unique(labels)
    if len(classes) > 2:
        raise ValueError(f"Only binary classification is supported. The labels hold {len(classes)} classes.")
    if len(classes) < 2:
        raise ValueError(f"images of two classes are needed, natural and synthetic; found 1 class: {classes.tolist()}")
    return classes
