"""Fits of one head on many supports, scoring a whole pool: all at once, or one after another."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.core.device import torch_device
from fewshot.core.errors import InputError
from fewshot.heads.base import Head
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

        Supports of different sizes (lists given by the user) are scored size by size.

        Args:
            features: (n, D) as the head wants them.

        Raises:
            InputError: a score is not finite.
        """
        supports = trials.supports(shots)
        scores = np.empty((len(trials), len(features)), np.float64)
        for size in sorted({len(rows) for rows in supports}):
            chosen = np.flatnonzero([len(rows) == size for rows in supports])
            fitted_on = np.stack([supports[trial] for trial in chosen])
            scores[chosen] = self.score_supports(head, features, trials.synthetic, fitted_on)
        if not np.isfinite(scores).all():
            raise InputError(f"the head {head.name!r} gave scores that are not finite; choose another layer or head")
        return scores

    def score_supports(self, head: Head, features: FloatArray, synthetic: BoolArray, supports: IntArray) -> FloatArray:
        """Return the scores (T, n) of one fit per support (T, s).

        Where the batched solver does not reach its tolerance, the trials are solved one after another.
        """
        if self.solver == "sklearn":
            return self._one_by_one(head, features, synthetic, supports)
        try:
            return head.score_draws(features, synthetic, supports, device=self._device())
        except NotSolvedError:
            self.unsolved.append(head.name)
            return self._one_by_one(head, features, synthetic, supports)

    def _one_by_one(self, head: Head, features: FloatArray, synthetic: BoolArray, supports: IntArray) -> FloatArray:
        if self.tolerance == "published":
            return head.score_draws_one_by_one(features, synthetic, supports)
        exact = np.asarray(features, dtype=np.float64)
        return head.converged().score_draws_one_by_one(exact, synthetic, supports)

    def _device(self) -> str:
        """Return ``cpu``, ``cuda`` or ``cuda:N``; torch is looked at only where it decides."""
        return self.device if self.device == "cpu" else str(torch_device(self.device))


BATCHED = HeadSolver()
