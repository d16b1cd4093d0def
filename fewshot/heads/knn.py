"""Nearest labelled neighbours by cosine, under FiSeR's two published rules (arXiv 2606.00606; specs/methods.md 3.3)."""

from typing import Any, ClassVar, Literal, Self

import numpy as np

from fewshot.batched import Draws, neighbour_scores
from fewshot.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from fewshot.core.errors import OptionError
from fewshot.heads.base import Head, unit_length

Rule = Literal["legacy", "exponential"]
TEMPERATURES = {"legacy": 0.05, "exponential": 0.07}  # FiSeR evaluate.py; golden/README.md


class Knn(Head):
    """Vote of the k most similar support images.

    With cosines s_i of the neighbours, y_i = +1 for synthetic and -1 for natural ones, and temperature t:

    - ``legacy``: sum_i t s_i y_i. FiSeR's probability is the sigmoid of it; t multiplies the similarity.
    - ``exponential``: sum_i w_i y_i / (2 sum_i w_i) with w_i = exp(s_i / t), which is FiSeR's share of synthetic
      weight minus one half.

    Args:
        k: neighbours; more than the support has means all of it.
        rule: ``legacy`` (all kNN numbers of the paper) or ``exponential``.
        temperature: t; None for the rule's own, 0.05 or 0.07.
    """

    name: ClassVar[str] = "knn"

    def __init__(self, k: int = 5, rule: Rule = "legacy", temperature: float | None = None) -> None:
        self.k = k
        self.rule = rule
        self.temperature = temperature

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        self._chosen()
        self.support_ = unit_length(rows)
        self.signs_ = np.where(positive, 1.0, -1.0)
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) votes; 0 is a draw."""
        scores: Float64Array = self.score_every_k(features, [self.k])[0]
        return scores

    def score_every_k(self, features: FloatArray, ks: list[int]) -> Float64Array:
        """Return (len(ks), M) votes, one row for every number of neighbours."""
        similar = unit_length(self._check_query(features)) @ self.support_.T
        order = np.argsort(-similar, axis=1, kind="stable")
        nearest = np.take_along_axis(similar, order, axis=1)
        sides = self.signs_[order]
        last = [min(k, similar.shape[1]) - 1 for k in ks]
        temperature = self._chosen()
        if self.rule == "legacy":
            return np.asarray(np.cumsum(temperature * nearest * sides, axis=1)[:, last].T)
        weights = np.exp((nearest - nearest[:, :1]) / temperature)
        shares = np.cumsum(weights * sides, axis=1) / np.cumsum(weights, axis=1)
        return np.asarray(shares[:, last].T / 2)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score all draws at once (``fewshot.batched``); equal similarities may fall to another neighbour."""
        draws = Draws(features, synthetic, supports, device)
        return neighbour_scores(draws, k=self.k, legacy=self.rule == "legacy", temperature=self._chosen())

    def _chosen(self) -> float:
        if self.rule not in TEMPERATURES:
            raise OptionError(f"the k-NN rule is 'legacy' or 'exponential', and not {self.rule!r}")
        if self.k < 1:
            raise OptionError(f"k-NN needs at least one neighbour, and k is {self.k}")
        return TEMPERATURES[self.rule] if self.temperature is None else self.temperature
