"""Nearest labelled neighbours by cosine, under FiSeR's two rules (arXiv 2606.00606; fiser/heads.py @ ad2637c)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, FloatArray, IntArray
from fewshot.core.errors import OptionError
from fewshot.heads.base import Head, unit_length
from fewshot.heads.state import Learned

Rule = Literal["legacy", "exponential"]
Metric = Literal["cosine", "ip"]
TEMPERATURES = {"legacy": 0.05, "exponential": 0.07}  # defaults in FiSeR fiser/heads.py @ ad2637c


class Knn(Head):
    """Vote of the k most similar support images.

    With similarities s_i of the neighbours, y_i = +1 for synthetic and -1 for natural ones, and temperature t:

    - ``legacy``: sum_i t s_i y_i. FiSeR's probability is the sigmoid of it; t multiplies the similarity.
    - ``exponential``: sum_i w_i y_i / (2 sum_i w_i) with w_i = exp(s_i / t), which is FiSeR's share of synthetic
      weight minus one half.

    Args:
        k: neighbours; more than the support has means all of it.
        rule: ``legacy`` (all kNN numbers of the paper) or ``exponential``.
        temperature: t; None for the rule's own, 0.05 or 0.07.
        metric: ``cosine``, or ``ip`` for FiSeR's arithmetic bit by bit: plain inner products in float32, summed in
            FAISS's order, and probabilities (minus one half) in float32, whose rounding makes ties of its own.
    """

    name: ClassVar[str] = "knn"
    learned: ClassVar[Mapping[str, Learned]] = {"support_": Learned("n D"), "positive_": Learned("n", bool)}
    support_: FloatArray
    positive_: BoolArray

    def __init__(
        self, k: int = 5, rule: Rule = "legacy", temperature: float | None = None, metric: Metric = "cosine"
    ) -> None:
        self.k = k
        self.rule = rule
        self.temperature = temperature
        self.metric = metric

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Fit on the support: features (n, D) floating, (n,) two classes."""
        rows, positive = self._check_support(features, y)
        self._chosen()
        support = unit_length(rows) if self.metric == "cosine" else np.asarray(rows, dtype=np.float32)
        self._learn({"support_": support, "positive_": positive})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) votes; 0 is a draw."""
        scores: Float64Array = self.score_every_k(features, [self.k])[0]
        return scores

    def applied(self, images: int) -> Mapping[str, Any]:
        """Return the number of neighbours where the support has fewer than ``k``."""
        return {"k": images} if images < self.k else {}

    def score_every_k(self, features: FloatArray, ks: list[int]) -> Float64Array:
        """Return (len(ks), M) votes, one row for every number of neighbours."""
        rows = self._check_query(features)
        if self.metric == "cosine":
            similar: FloatArray = unit_length(rows) @ self.support_.T
        else:
            support = np.asarray(self.support_, dtype=np.float32)
            similar = _products_by_lanes(np.asarray(rows, dtype=np.float32), support)
        order = np.argsort(-similar, axis=1, kind="stable")
        nearest = np.take_along_axis(similar, order, axis=1)
        votes = _VOTES[self.rule](nearest, self.positive_[order], self._chosen())
        last = [min(k, votes.shape[1]) - 1 for k in ks]
        return np.asarray(votes[:, last].T, dtype=np.float64)

    def score_draws(
        self, features: FloatArray, synthetic: BoolArray, supports: IntArray, *, device: str = "cpu"
    ) -> FloatArray:
        """Score all draws at once (``fewshot.solvers.batched``); equal similarities may fall to another neighbour."""
        if self.metric != "cosine":
            return self.score_draws_one_by_one(features, synthetic, supports)
        from fewshot.solvers.batched import neighbour_scores
        from fewshot.solvers.prepared_pool import Supports

        drawn = Supports(features, synthetic, supports, device)
        return neighbour_scores(drawn, k=self.k, legacy=self.rule == "legacy", temperature=self._chosen())

    def _chosen(self) -> float:
        if self.rule not in TEMPERATURES:
            raise OptionError(f"the k-NN rule is 'legacy' or 'exponential', and not {self.rule!r}")
        if self.metric not in ("cosine", "ip"):
            raise OptionError(f"the k-NN metric is 'cosine' or 'ip', and not {self.metric!r}")
        if self.k < 1:
            raise OptionError(f"k-NN needs at least one neighbour, and k is {self.k}")
        return TEMPERATURES[self.rule] if self.temperature is None else self.temperature


def _legacy(similar: FloatArray, positive: BoolArray, temperature: float) -> FloatArray:
    weighted = similar * similar.dtype.type(temperature)
    lead = np.cumsum(weighted * positive, axis=1) - np.cumsum(weighted * ~positive, axis=1)
    if similar.dtype == np.float64:
        return lead
    return (1 / (1 + np.exp(-np.clip(lead, -80, 80)))).astype(np.float64) - 0.5


def _exponential(similar: FloatArray, positive: BoolArray, temperature: float) -> FloatArray:
    weights = _exp(np.clip(similar / similar.dtype.type(temperature), -80, 80))
    share = np.cumsum(weights * positive, axis=1) / np.cumsum(weights, axis=1)
    return share.astype(np.float64) - 0.5


_VOTES = {"legacy": _legacy, "exponential": _exponential}


def _exp(values: FloatArray) -> FloatArray:
    """Return the exponential rounded once, the same on every processor."""
    return np.exp(values.astype(np.float64)).astype(values.dtype)


def _products_by_lanes(rows: Float32Array, support: Float32Array) -> Float32Array:
    """Return (M, n) float32 inner products in eight running sums that are folded in halves, FAISS's order."""
    missing = -rows.shape[1] % 8
    wide, narrow = (np.pad(part, ((0, 0), (0, missing))) for part in (rows, support))
    lanes = np.zeros((len(rows), len(support), 8), np.float32)
    for start in range(0, wide.shape[1], 8):
        lanes += wide[:, None, start : start + 8] * narrow[None, :, start : start + 8]
    for half in (4, 2, 1):
        lanes = lanes[:, :, :half] + lanes[:, :, half:]
    return lanes[:, :, 0]
