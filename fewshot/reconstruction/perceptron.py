"""Multi-layer perceptrons side by side, in one block of memory, with their gradients written out.

The networks are small and the batches too, so a training step is matrix products and little else; what a general
automatic differentiation adds (fresh gradient buffers, one optimiser call per tensor) is a tenth of the step on two
cores and most of it on a GPU. Here every product writes where it is wanted. ``tests/reconstruction`` holds the
gradients equal to automatic ones.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class PerceptronStack:
    """S perceptrons of equal shape; weights (S, in, out), biases (S, 1, out), all views of one flat tensor.

    Args:
        widths: the dimensions from input to output, for example ``(768, 1024, 256)``.
        relu: after which layers a ReLU stands, one bool per layer; never after the last.
        seeds: one per network; a network's start depends on its own seed only, and None starts it at zero.
        std: normal start with this deviation and zero biases; None draws both uniformly within 1 / sqrt(in), PyTorch's
            default for a linear layer.
        device: where the networks lie.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        relu: Sequence[bool],
        seeds: Sequence[int | None],
        std: float | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if relu[-1]:
            raise ValueError("the outputs have no ReLU: backward is given the gradient of what a linear layer made")
        self.widths, self.relu, self.count = tuple(widths), tuple(relu), len(seeds)
        shapes = [
            shape
            for wide, narrow in pairwise(widths)
            for shape in ((self.count, wide, narrow), (self.count, 1, narrow))
        ]
        total = sum(count * rows * stride for count, rows, stride in map(_room, shapes))
        self.parameters = torch.zeros(total, device=device)
        self.parameters.grad = torch.zeros(total, device=device)
        self._views, gradient_views = _cut(self.parameters, shapes), _cut(self.parameters.grad, shapes)
        # One network's products are of plain matrices, which the CPU does faster than a batch of one.
        self._multiply, self._affine = _PLAIN if self.count == 1 else _BATCHED
        values, gradients = ([self._plain(view) for view in views] for views in (self._views, gradient_views))
        self._layers = [
            _Layer(*four) for four in zip(values[::2], values[1::2], gradients[::2], gradients[1::2], strict=True)
        ]
        self._start(seeds, std)
        self._inputs: list[Tensor] = []

    def layers(self, network: int) -> list[tuple[Tensor, Tensor]]:
        """Return (weight (in, out), bias (out,)) of every layer of one network, as views."""
        pairs = zip(self._views[::2], self._views[1::2], strict=True)
        return [(weight[network], bias[network, 0]) for weight, bias in pairs]

    def forward(self, inputs: Tensor, *, keep: bool = False) -> Tensor:
        """Return the outputs (S, n, out) of inputs (S, n, in); ``keep`` what ``backward`` needs of them."""
        return self.forward_each([inputs], keep=keep)[0]

    def forward_each(self, groups: Sequence[Tensor], *, keep: bool = False) -> list[Tensor]:
        """Return the outputs of several groups of rows, each as it would be alone.

        They pass every layer one after another, while its weights are at hand.

        Args:
            groups: inputs (S, n, in), of any n each.
            keep: what ``backward`` needs of the first group.
        """
        self._inputs = []
        hidden = [self._plain(inputs) for inputs in groups]
        for layer, rectified in zip(self._layers, self.relu, strict=True):
            if keep:
                self._inputs.append(hidden[0])
            for group, inputs in enumerate(hidden):
                if layer is self._layers[-1] or inputs.shape[-2] < _FEW_ROWS:
                    outputs = self._affine(layer.bias, inputs, layer.weight)
                else:  # column by column in memory, which the products of the inner layers like best
                    outputs = self._affine(layer.bias.mT, layer.weight.mT, inputs.mT).mT
                hidden[group] = outputs.relu_() if rectified else outputs
        return [outputs.unsqueeze(0) if self.count == 1 else outputs for outputs in hidden]

    def backward(self, gradient: Tensor) -> None:
        """Write the parameters' gradients, given the loss's gradient (S, n, out) with respect to the outputs."""
        gradient = self._plain(gradient)
        for number in reversed(range(len(self._layers))):
            layer, inputs = self._layers[number], self._inputs[number]
            self._multiply(inputs.mT, gradient, out=layer.weight_gradient)
            torch.sum(gradient, -2, keepdim=True, out=layer.bias_gradient)
            if number:
                if gradient.shape[-2] < _FEW_ROWS:
                    gradient = self._multiply(gradient, layer.weight.mT)
                else:
                    gradient = self._multiply(layer.weight, gradient.mT).mT
                if self.relu[number - 1]:  # a kept input is the ReLU's output: zero exactly where the ReLU is closed
                    gradient = torch.ops.aten.threshold_backward(gradient, inputs, 0)
                gradient = gradient.contiguous()  # row by row, as automatic differentiation adds up the biases
        self._inputs = []

    def outputs(self, network: int, inputs: Tensor) -> Tensor:
        """Return one network's outputs (n, out) of inputs (n, in)."""
        hidden = inputs
        for (weight, bias), rectified in zip(self.layers(network), self.relu, strict=True):
            hidden = torch.addmm(bias, hidden, weight)
            if rectified:
                hidden = hidden.relu_()
        return hidden

    @classmethod
    def of(
        cls, layers: Sequence[tuple[Tensor, Tensor]], *, relu: Sequence[bool], device: str | torch.device = "cpu"
    ) -> "PerceptronStack":
        """Return a single network with the given (weight (in, out), bias (out,)) of every layer, copied."""
        widths = [len(weight) for weight, _ in layers] + [len(layers[-1][1])]
        alone = cls(widths, relu=relu, seeds=[None], device=device)
        for (own_weight, own_bias), (weight, bias) in zip(alone.layers(0), layers, strict=True):
            own_weight.copy_(weight)
            own_bias.copy_(bias)
        return alone

    def copy(self, network: int) -> "PerceptronStack":
        """Return one network on its own, detached from the rest."""
        return PerceptronStack.of(self.layers(network), relu=self.relu, device=self.parameters.device)

    def _plain(self, stacked: Tensor) -> Tensor:
        return stacked[0] if self.count == 1 else stacked

    def _start(self, seeds: Sequence[int | None], std: float | None) -> None:
        for network, seed in enumerate(seeds):
            if seed is None:
                continue
            generator = torch.Generator().manual_seed(seed)
            for position, view in enumerate(self._views):
                shape = view[network].shape
                if std is None:
                    bound = self._views[position - position % 2].shape[1] ** -0.5
                    drawn = torch.empty(shape).uniform_(-bound, bound, generator=generator)
                else:
                    drawn = torch.empty(shape).normal_(0.0, std, generator=generator) * (position % 2 == 0)
                view[network].copy_(drawn)


# The matrix product, and the one with a bias added.
_PLAIN: tuple[Callable[..., Tensor], Callable[..., Tensor]] = (torch.mm, torch.addmm)
_BATCHED: tuple[Callable[..., Tensor], Callable[..., Tensor]] = (torch.bmm, torch.baddbmm)

_LINE, _CROWDED = 16, 256  # floats: of a cache line, and of a kilobyte
_FEW_ROWS = 16  # fewer are multiplied faster row by row


class _Layer(NamedTuple):
    """One layer of all networks: (S, in, out) and (S, 1, out), without the S where there is one network."""

    weight: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor


def _room(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return (S, rows in memory, floats from row to row) of S matrices of a shape.

    The longer side runs over the rows, which suits the products best. Rows of whole kilobytes would compete for the
    same places of the processor's caches, so they lie a cache line further apart.
    """
    count, a, b = shape
    length = min(a, b)
    return count, max(a, b), length + (_LINE if length % _CROWDED == 0 else 0)


def _cut(flat: Tensor, shapes: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    """Return views (S, a, b), one after another; the floats between their rows belong to none."""
    views, start = [], 0
    for shape in shapes:
        count, rows, stride = _room(shape)
        _, a, b = shape
        part = flat[start : start + count * rows * stride].view(count, rows, stride)
        views.append(part[..., :b] if a > b else part[..., :a].mT)
        start += count * rows * stride
    return views
