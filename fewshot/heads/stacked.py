"""Scores of one head per backbone, stacked into log odds by what left-out support images show."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import OptionError, WeightsError
from fewshot.heads.base import HEADS, Head
from fewshot.heads.state import HeadState, Learned
from fewshot.solvers.blocks import block_columns, stratified_folds
from fewshot.solvers.fusion_weights import Weigh
from fewshot.solvers.score_stack import ScoreStack

if TYPE_CHECKING:
    from fewshot.solvers.stacked import RbfSvm

# What a head's scores are proportional to, and what is added to them: of those whose score can be split into parts.
_LINEAR = {"svm": "dual_coef_", "linear-svm": "coef_", "logistic": "coef_", "lda": "coef_", "ridge": "coef_"}


class Stacked(Head):
    """A weighted sum of the scores of one head per block of columns: stacking, Wolpert, Neural Networks 5, 1992.

    Every image of the support is scored by heads that were fitted without it, in at most five stratified folds. These
    scores give the weights and the steepness of the sum, which is the log odds of synthetic for classes that are
    equally frequent; then every head is fitted on the whole support. Nothing of a query is looked at.

    Args:
        widths: columns of each block, side by side in the features; empty for a single block.
        base: the head of every block, by name, with its default parameters; solved to its optimum.
        weigh: by what a block is weighed: ``alignment``, Student's t of its left-out scores, which here stands for the
            agreement with the classes; ``auroc`` of these, fold by fold; ``uniform``, all alike.

    Attributes:
        weights_: (B,) float64, of scores in units of their spread; 0 or more, adding up to 1.
        slopes_: (B,) float64, of scores as they are; offset_: the log odds where all of these are zero.
        heads_: (B,) the fitted heads.
    """

    name: ClassVar[str] = "stacked"
    weights_: Float64Array
    slopes_: Float64Array
    offset_: float
    heads_: tuple[Head, ...]

    def __init__(self, widths: tuple[int, ...] = (), base: str = "svm", weigh: Weigh = "alignment") -> None:
        self.widths = widths
        self.base = base
        self.weigh: Weigh = weigh

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, y (n,) two classes."""
        rows, positive = self._check_support(features, y)
        labels = positive.astype(np.int64)
        blocks = [np.asarray(rows[:, columns], dtype=np.float64) for columns in self._columns()]
        left_out = np.zeros((len(blocks), len(rows)))
        for held_out in stratified_folds(positive):
            kept = np.setdiff1d(np.arange(len(rows)), held_out)
            for number, block in enumerate(blocks):
                fitted = self._base().fit(block[kept], labels[kept])
                left_out[number, held_out] = fitted.decision_function(block[held_out])
        self.heads_ = tuple(self._base().fit(block, labels) for block in blocks)
        self._learn({**self._arrays_of_heads(), **_learned(ScoreStack.of(left_out, positive, weigh=self.weigh))})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) log odds of synthetic."""
        rows = self._check_query(features)
        scores = np.full(len(rows), self.offset_)
        for head, slope, columns in zip(self.heads_, self.slopes_, self._columns(), strict=True):
            if slope:
                scores += slope * head.decision_function(np.ascontiguousarray(rows[:, columns]))
        return scores

    def probabilities(self, features: FloatArray) -> Float64Array:
        """Return (M,) the probability of synthetic, for classes that are equally frequent: float64."""
        return np.asarray(0.5 * (1.0 + np.tanh(self.decision_function(features) / 2)))

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Fit and score all draws at once where the base head is ``svm`` (``fewshot.solvers.stacked``)."""
        if self.base != "svm":
            return self.score_draws_one_by_one(features, synthetic, supports)
        from fewshot.solvers.prepared_pool import Supports
        from fewshot.solvers.stacked import stacked_svm_scores

        drawn = Supports(features, synthetic, supports, device)
        return stacked_svm_scores(drawn, self.widths, weigh=self.weigh, svm=self._svm())

    def draw_weights(self, features: FloatArray, synthetic: BoolArray, supports: IntArray) -> Float64Array:
        """Return (T, B) float64 the weights of every draw, from the support alone; arguments as of ``score_draws``."""
        if self.base != "svm":
            labels = synthetic.astype(np.int64)
            return np.stack([self.unfitted().fit(features[rows], labels[rows]).weights_ for rows in supports])
        from fewshot.solvers.prepared_pool import Supports
        from fewshot.solvers.stacked import stacked_svm_weights

        drawn = Supports(features, synthetic, supports)
        return stacked_svm_weights(drawn, self.widths, weigh=self.weigh, svm=self._svm())

    def parts(self) -> tuple[HeadState, ...]:
        """Return one state of the base head per block, whose scores of the block's columns add up to this head's.

        The offset is in the first. A sum in another order rounds differently, in the last digits.

        Raises:
            OptionError: the base head's score is not proportional to anything it learned.
        """
        self._require_fitted()
        if self.base not in _LINEAR:
            raise OptionError(
                f"the scores of the head {self.base!r} cannot be scaled; stack one of {', '.join(_LINEAR)} instead"
            )
        found = []
        for number, (head, slope) in enumerate(zip(self.heads_, self.slopes_, strict=True)):
            state, scaled = head.state(), _LINEAR[self.base]
            intercept = slope * state.arrays["intercept_"] + (self.offset_ if number == 0 else 0.0)
            arrays = {**state.arrays, scaled: slope * state.arrays[scaled], "intercept_": np.asarray(intercept)}
            found.append(HeadState(arrays, {**state.settings, "classes": self.state().settings["classes"]}))
        return tuple(found)

    def _base(self) -> Head:
        """Return the head of a block, unfitted, as far from its optimum as rounding goes."""
        if self.base == self.name:
            raise OptionError("the base of stacked scores is 'stacked' itself; name the head of each block")
        base: Head = HEADS.load(self.base)()
        if base.views != ("clean",):
            raise OptionError(f"the head {self.base!r} looks at {', '.join(base.views)}, and a block is one view")
        return base.converged()

    def _svm(self) -> "RbfSvm":
        from fewshot.solvers.stacked import RbfSvm

        parameters = self._base().get_params()
        return RbfSvm(C=parameters["C"], gamma=parameters["gamma"])

    def _columns(self) -> tuple[slice, ...]:
        return block_columns(self.widths, self.n_features_in_)

    def _arrays_of_heads(self) -> dict[str, Any]:
        """Return what the heads learned, each array's name behind the block's number."""
        return {
            f"{number}.{name}": array
            for number, head in enumerate(self.heads_)
            for name, array in head.state().arrays.items()
        }

    def _arrays(self) -> Mapping[str, Any]:
        own = {name: np.asarray(getattr(self, name)) for name in ("weights_", "slopes_", "offset_")}
        return {**self._arrays_of_heads(), **own}

    def _declared(self) -> Mapping[str, Learned]:
        try:
            columns = self._columns()
        except OptionError as error:
            raise WeightsError(f"the saved head 'stacked' cannot be used: {error}; fit it and save it again") from error
        declared = {
            f"{number}.{name}": Learned(_shape_of(learned.shape, number, part.stop - part.start), learned.kind)
            for number, part in enumerate(columns)
            for name, learned in self._block_head(part)._declared().items()
        }
        blocks = str(len(columns))
        return {**declared, "weights_": Learned(blocks), "slopes_": Learned(blocks), "offset_": Learned("")}

    def _block_head(self, columns: slice) -> Head:
        head = self._base()
        head.n_features_in_, head.classes_ = columns.stop - columns.start, np.array([0, 1])
        return head

    def _learn(self, arrays: Mapping[str, Any]) -> None:
        """Take what was learned, the heads from the arrays behind their numbers."""
        heads = []
        for number, columns in enumerate(self._columns()):
            head, prefix = self._block_head(columns), f"{number}."
            head._learn({name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)})
            heads.append(head)
        self.heads_ = tuple(heads)
        super()._learn({name: arrays[name] for name in ("weights_", "slopes_", "offset_")})


def _learned(stack: ScoreStack) -> dict[str, Float64Array]:
    return {"weights_": stack.weights, "slopes_": stack.slopes, "offset_": stack.offset}


def _shape_of(shape: str, block: int, width: int) -> str:
    """Return a head's declared shape among those of other blocks: its dimension as a number, its sizes its own."""
    return " ".join(
        str(width) if size == "D" else size if size.isdigit() else f"{size}.{block}" for size in shape.split()
    )
