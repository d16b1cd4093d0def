"""Fits of one head on many supports, scoring a whole pool: all at once, or one after another."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.device import torch_device
from fewshot.core.errors import InputError
from fewshot.heads.base import Head
from fewshot.heads.transductive import TransductiveHead
from fewshot.protocols.trials.trials import Trials
from fewshot.solvers.not_solved import NotSolvedError

Solver = Literal["batched", "sklearn"]
Tolerance = Literal["optimum", "published"]


@dataclass(frozen=True)
class HeadSolver:
    """How heads are fitted.

    Args:
        solver: ``batched``, or ``sklearn`` for one fit after another.
        device: where the batched solver computes: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        tolerance: of single fits: ``optimum`` goes as far as the batched solver, in float64; ``published`` stops where
            scikit-learn stops, in the precision of the features, which for ``logistic`` is far from the optimum.
        unsolved: gets the name of every head that the batched solver could not solve.
    """

    solver: Solver = "batched"
    device: str = "cpu"
    tolerance: Tolerance = "optimum"
    unsolved: list[str] = field(default_factory=list, compare=False)

    def score(self, head: Head, trials: Trials, features: FloatArray, shots: int) -> FloatArray:
        """Return (T, n) scores of all images by the head fitted on every trial's support.

        Supports of different sizes (lists given by the user) are scored size by size. A transductive head looks at
        the query images of its own trial, without their labels.

        Args:
            features: (n, D) as the head wants them.

        Raises:
            InputError: a score is not finite.
        """
        scores = np.empty((len(trials), len(features)), np.float64)
        for chosen, fitted_on in trials.supports_by_size(shots):
            queries = trials.query_mask()[chosen] if isinstance(head, TransductiveHead) else None
            scores[chosen] = self.score_supports(head, features, trials.synthetic, fitted_on, queries=queries)
        if not np.isfinite(scores).all():
            raise InputError(f"the head {head.name!r} gave scores that are not finite; choose another layer or head")
        return scores

    def score_supports(
        self,
        head: Head,
        features: FloatArray,
        synthetic: BoolArray,
        supports: IntArray,
        *,
        queries: BoolArray | None = None,
    ) -> FloatArray:
        """Return the scores (T, n) of one fit per support (T, s).

        Where the batched solver does not reach its tolerance, the trials are solved one after another.

        Args:
            queries: (T, n) bool, the unlabelled images that a transductive head looks at; None for none.
        """
        if self.solver == "sklearn":
            return self._one_by_one(head, features, synthetic, supports, queries)
        try:
            if queries is not None and isinstance(head, TransductiveHead):
                return head.score_draws_with(features, synthetic, supports, queries, device=self._device())
            return head.score_draws(features, synthetic, supports, device=self._device())
        except NotSolvedError:
            self.unsolved.append(head.name)
            return self._one_by_one(head, features, synthetic, supports, queries)

    def score_rows(
        self, head: Head, features: FloatArray, synthetic: BoolArray, supports: IntArray, rows: IntArray
    ) -> FloatArray:
        """Return the scores (T, m) of some rows (T, m) by one fit per support (T, s), for example of rows held out.

        A transductive head looks at no unlabelled image here: choices are made by labelled images alone.
        """
        if self.solver == "batched":
            try:
                return head.score_rows(features, synthetic, supports, rows, device=self._device())
            except NotSolvedError:
                self.unsolved.append(head.name)
        scores = self._one_by_one(head, features, synthetic, supports, None)
        return np.take_along_axis(scores, rows, axis=1)

    def _one_by_one(
        self, head: Head, features: FloatArray, synthetic: BoolArray, supports: IntArray, queries: BoolArray | None
    ) -> FloatArray:
        if self.tolerance == "optimum":
            head, features = head.converged(), np.asarray(features, dtype=np.float64)
        if queries is not None and isinstance(head, TransductiveHead):
            return head.score_draws_with_one_by_one(features, synthetic, supports, queries)
        return head.score_draws_one_by_one(features, synthetic, supports)

    def _device(self) -> str:
        """Return ``cpu``, ``cuda`` or ``cuda:N``; torch is looked at only where it decides."""
        return self.device if self.device == "cpu" else str(torch_device(self.device))


BATCHED = HeadSolver()
