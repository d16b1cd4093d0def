"""Solvers of many small dual problems at once: support vector machines and logistic regression on a kernel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot.solvers.not_solved import NotSolvedError

ROUNDS = 20_000  # SMO steps before a problem is called unsolvable
COMPACT_EVERY = 16
TINY = 1e-12  # libsvm's TAU: curvature of a direction that has none


@dataclass(frozen=True)
class Solution:
    """The optimum of every problem: score(x) = sum_i weights_i K(x_i, x) + bias.

    Args:
        weights: (T, s) float64: label times dual variable.
        bias: (T,) float64.
        objective: (T,) float64, the dual objective in the solver's own sign (SVM: libsvm's, to be minimised).
    """

    weights: Tensor
    bias: Tensor
    objective: Tensor


def solve_svm(kernel: Tensor, signs: Tensor, *, C: float, tol: float = 1e-10) -> Solution:
    """Minimise 1/2 a'Qa - 1'a, 0 <= a <= C, y'a = 0 for every trial by sequential minimal optimisation.

    Pairs are chosen by second-order information (Fan, Chen, Lin, JMLR 2005, WSS 2), as libsvm does, and the bias is
    libsvm's: the mean over free support vectors, else the middle of the interval that the others leave.

    Args:
        kernel: (T, s, s) float64, positive semi-definite.
        signs: (T, s) float64, +1 or -1, both in every trial.
        C: the box.
        tol: largest violation of the optimality conditions.

    Raises:
        NotSolvedError: a trial is not solved after 20,000 steps (a kernel with NaN, for example).
    """
    state = _Smo.start(kernel, signs, C)
    alpha = torch.zeros_like(signs)
    violation = signs.clone()
    left = torch.arange(len(signs), device=signs.device)
    for done in range(ROUNDS):
        if done % COMPACT_EVERY == 0:
            gap = state.gap()
            open_ = ~(gap < tol)
            if not bool(open_.all()):
                alpha[left], violation[left] = state.alpha, state.violation
                left, state = left[open_], state.only(open_)
            if len(left) == 0:
                break
        state.step(tol)
    else:
        raise NotSolvedError(f"{len(left)} of {len(signs)} SVMs are not solved after {ROUNDS} steps")
    weights = alpha * signs
    objective = 0.5 * torch.einsum("ts,tsr,tr->t", weights, kernel, weights) - alpha.sum(1)
    return Solution(weights, _svm_bias(alpha, violation, signs, C), objective)


@dataclass
class _Smo:
    """The open problems: violation is -y times the gradient of the objective."""

    kernel: Tensor
    signs: Tensor
    alpha: Tensor
    violation: Tensor
    C: float

    @classmethod
    def start(cls, kernel: Tensor, signs: Tensor, C: float) -> "_Smo":
        return cls(kernel, signs, torch.zeros_like(signs), signs.clone(), C)

    def only(self, keep: Tensor) -> "_Smo":
        return _Smo(self.kernel[keep], self.signs[keep], self.alpha[keep], self.violation[keep], self.C)

    def _up(self) -> Tensor:
        up, _ = _movable(self.alpha, self.signs, self.C)
        return torch.where(up, self.violation, -torch.inf)

    def gap(self) -> Tensor:
        up, low = _movable(self.alpha, self.signs, self.C)
        most = torch.where(up, self.violation, -torch.inf).amax(1)
        return most - torch.where(low, self.violation, torch.inf).amin(1)

    def step(self, tol: float) -> None:
        up, low = _movable(self.alpha, self.signs, self.C)
        each = torch.arange(len(self.alpha), device=self.alpha.device)
        best = torch.where(up, self.violation, -torch.inf).max(1)
        i = best.indices
        row_i = self.kernel[each, i]
        diagonal = self.kernel.diagonal(dim1=1, dim2=2)
        slope = best.values[:, None] - self.violation
        curve = (diagonal[each, i][:, None] + diagonal - 2 * row_i).clamp_min(TINY)
        gain = torch.where(low & (slope > 0), slope * slope / curve, -1.0)
        j = gain.argmax(1)
        length = slope[each, j] / curve[each, j]
        room_i = torch.where(self.signs[each, i] > 0, self.C - self.alpha[each, i], self.alpha[each, i])
        room_j = torch.where(self.signs[each, j] > 0, self.alpha[each, j], self.C - self.alpha[each, j])
        length = torch.minimum(length, torch.minimum(room_i, room_j))
        length = torch.where(gain[each, j] > 0, length, 0.0)
        self._move(each, i, length, room_i, self.signs[each, i])
        self._move(each, j, length, room_j, -self.signs[each, j])
        self.violation -= length[:, None] * (row_i - self.kernel[each, j])

    def _move(self, each: Tensor, chosen: Tensor, length: Tensor, room: Tensor, sign: Tensor) -> None:
        bound = torch.where(sign > 0, self.C, 0.0)  # a step that uses all its room ends exactly on the bound
        self.alpha[each, chosen] = torch.where(length >= room, bound, self.alpha[each, chosen] + sign * length)


def _movable(alpha: Tensor, signs: Tensor, C: float) -> tuple[Tensor, Tensor]:
    """Which variables can move so that y'a grows, and so that it shrinks: (T, s) bool each."""
    positive = signs > 0
    below, above = alpha < C, alpha > 0
    return torch.where(positive, below, above), torch.where(positive, above, below)


def _svm_bias(alpha: Tensor, violation: Tensor, signs: Tensor, C: float) -> Tensor:
    free = (alpha > 0) & (alpha < C)
    up, low = _movable(alpha, signs, C)
    most = torch.where(up & ~free, violation, -torch.inf).amax(1)
    least = torch.where(low & ~free, violation, torch.inf).amin(1)
    count = free.sum(1)
    mean = torch.where(free, violation, 0.0).sum(1) / count.clamp_min(1)
    return torch.where(count > 0, mean, (most + least) / 2)


def solve_logistic(gram: Tensor, signs: Tensor, *, C: float, tol: float = 1e-10, rounds: int = 100) -> Solution:
    """Minimise 1/2 |w|^2 + C sum log(1 + exp(-y (w x + b))) for every trial by Newton's method on the kernel.

    With w = sum_i weights_i x_i the Newton step solves (K + diag(1 / (C p (1 - p)))) weights + b = z, 1'weights = 0
    (iteratively reweighted least squares; Hastie, Tibshirani, Friedman, section 12.3.3). The step is halved until the
    objective falls.

    Args:
        gram: (T, s, s) float64 inner products of the support rows.
        signs: (T, s) float64, +1 or -1, both in every trial.
        tol: largest gradient, as a share of the largest weight: a number of its own would mean little under a weak
            penalty and nothing under a strong one.

    Raises:
        NotSolvedError: the gradient is above ``tol`` after ``rounds`` steps.
    """
    trials, shots = signs.shape
    weights, bias = torch.zeros_like(signs), torch.zeros(trials, dtype=signs.dtype, device=signs.device)
    solved = torch.zeros(trials, dtype=torch.bool, device=signs.device)
    for _ in range(rounds):
        margin = torch.einsum("tsr,tr->ts", gram, weights) + bias[:, None]
        gradient_term = C * signs * torch.sigmoid(-signs * margin)
        error = torch.maximum((gradient_term - weights).abs().amax(1), gradient_term.sum(1).abs())
        solved = error <= tol * gradient_term.abs().amax(1)
        if bool(solved.all()):
            return Solution(weights, bias, _logistic_loss(gram, signs, weights, bias, C))
        hessian_weight = (C * torch.sigmoid(margin) * torch.sigmoid(-margin)).clamp_min(1e-12 * C)
        system = torch.zeros((trials, shots + 1, shots + 1), dtype=gram.dtype, device=gram.device)
        system[:, :shots, :shots] = gram + torch.diag_embed(1.0 / hessian_weight)
        system[:, :shots, shots] = system[:, shots, :shots] = 1.0
        right_hand_side = torch.cat([margin + gradient_term / hessian_weight, torch.zeros_like(bias)[:, None]], dim=1)
        found = torch.linalg.solve(system, right_hand_side)
        weights, bias = _halved(gram, signs, C, (weights, bias), (found[:, :shots], found[:, shots]))
    unsolved = int(torch.as_tensor(~solved).sum())
    raise NotSolvedError(f"logistic regression: {unsolved} of {trials} trials are not solved")


def _halved(
    gram: Tensor, signs: Tensor, C: float, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    before = _logistic_loss(gram, signs, *old, C)
    share = torch.ones_like(before)
    for _ in range(30):
        weights = old[0] + share[:, None] * (new[0] - old[0])
        bias = old[1] + share * (new[1] - old[1])
        worse = _logistic_loss(gram, signs, weights, bias, C) > before * (1 + 1e-14) + 1e-14
        if not bool(worse.any()):
            break
        share = torch.where(worse, share / 2, share)
    return weights, bias


def _logistic_loss(gram: Tensor, signs: Tensor, weights: Tensor, bias: Tensor, C: float) -> Tensor:
    along = torch.einsum("tsr,tr->ts", gram, weights)
    loss = torch.nn.functional.softplus(-signs * (along + bias[:, None])).sum(1)
    return 0.5 * (weights * along).sum(1) + C * loss
