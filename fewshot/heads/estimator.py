"""A scikit-learn classifier that does not load scikit-learn: parameters, copies, tags, and the checks of its input.

Importing scikit-learn's own base class takes as much time as importing torch, because it loads pandas and SciPy. A head
keeps the estimator's contract by its methods instead (docs/decisions/0008-heads-are-estimators.md), and scikit-learn's
estimator checks hold it to that. What is plainly right is checked here; anything else (tables, lists, other types,
missing values, wrong shapes) is handed to scikit-learn, which converts it or refuses it in its own words.
"""

import copy
import inspect
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import FloatArray

_EXACT = (np.dtype(np.float64), np.dtype(np.float32))


class Estimator:
    """A binary classifier as scikit-learn's developers' guide asks: constructors only store, ``fit`` learns."""

    n_features_in_: int
    classes_: Any

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters by name; ``deep`` changes nothing, for no parameter is an estimator."""
        return {name: getattr(self, name) for name in _parameters(type(self))}

    def set_params(self, **parameters: Any) -> Self:
        """Change constructor parameters.

        Raises:
            ValueError: no such parameter.
        """
        known = _parameters(type(self))
        for name, value in parameters.items():
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {list(known)}."
                )
            setattr(self, name, value)
        return self

    def unfitted(self) -> Self:
        """Return a new head with the same parameters, as ``sklearn.base.clone`` does."""
        return type(self)(**copy.deepcopy(self.get_params()))

    def score(self, features: Any, y: Any) -> float:
        """Return the accuracy on features (n, D) with labels y (n,)."""
        predict: Any = self.predict  # type: ignore[attr-defined]  # of every head
        return float(np.mean(predict(features) == np.asarray(y)))

    def __repr__(self) -> str:
        defaults = _parameters(type(self))
        changed = [f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_class=False),
        )


def _parameters(kind: type) -> dict[str, Any]:
    """Return the constructor's parameters and their defaults."""
    signature = inspect.signature(kind)
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def checked_support(
    head: Estimator, features: Any, y: Any, *, dtype: type[np.floating[Any]] | None = None
) -> tuple[FloatArray, NDArray[Any]]:
    """Return features (n, D) and labels (n,) to fit on, and note D.

    Args:
        head: the head that is fitted; gets ``n_features_in_``.
        features, y: what the user gave.
        dtype: of the features; None keeps float32 and float64 as they are.

    Raises:
        ValueError, TypeError: scikit-learn's own, for features or labels that cannot be used.
    """
    if _is_plain(features, dtype) and _is_plain_label(y) and len(y) == len(features):
        head.n_features_in_ = features.shape[1]
        vars(head).pop("feature_names_in_", None)
        return features, y
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import validate_data

    rows, labels = validate_data(head, features, y, dtype=dtype or list(_EXACT))
    check_classification_targets(labels)
    return rows, labels


def checked_query(head: Estimator, features: Any, *, dtype: type[np.floating[Any]] | None = None) -> FloatArray:
    """Return features (M, D) to score.

    Raises:
        NotFittedError, ValueError, TypeError: scikit-learn's own, for a head that is not fitted or features that
            cannot be used.
    """
    fitted = vars(head)
    expected = "classes_" in fitted and "feature_names_in_" not in fitted
    if expected and _is_plain(features, dtype) and features.shape[1] == head.n_features_in_:
        return np.asarray(features)
    from sklearn.utils.validation import check_is_fitted, validate_data

    check_is_fitted(head)
    return np.asarray(validate_data(head, features, reset=False, dtype=dtype or list(_EXACT)))


def _is_plain(features: Any, dtype: type[np.floating[Any]] | None) -> bool:
    """Return whether features are a finite matrix of the right type, which scikit-learn would return as it is."""
    if type(features) is not np.ndarray or features.ndim != 2 or features.size == 0:
        return False
    if features.dtype not in (_EXACT if dtype is None else (np.dtype(dtype),)):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(features.sum()))  # a sum that overflows is looked at by scikit-learn, value by value


def _is_plain_label(y: Any) -> bool:
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biu"
