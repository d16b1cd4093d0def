"""Multi-layer perceptrons side by side, in one block of memory, with their gradients written out.

The networks are small and the batches too, so a training step is matrix products and little else; what a general
automatic differentiation adds (fresh gradient buffers, one optimiser call per tensor) is a tenth of the step on two
cores and most of it on a GPU. Here every product writes where it is wanted. ``tests/reconstruction`` holds the
gradients equal to automatic ones.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


class PerceptronStack:
    """S perceptrons of equal shape; weights (S, in, out), biases (S, 1, out), all views of one flat tensor.

    Args:
        widths: the dimensions from input to output, for example ``(768, 1024, 256)``.
        relu: after which layers a ReLU stands, one bool per layer.
        seeds: one per network; a network's start depends on its own seed only.
        std: normal start with this deviation and zero biases; None draws both uniformly within 1 / sqrt(in), PyTorch's
            default for a linear layer.
        device: where the networks lie.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        relu: Sequence[bool],
        seeds: Sequence[int],
        std: float | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.widths, self.relu, self.count = tuple(widths), tuple(relu), len(seeds)
        shapes = [
            shape
            for wide, narrow in pairwise(widths)
            for shape in ((self.count, wide, narrow), (self.count, 1, narrow))
        ]
        total = sum(a * b * c for a, b, c in shapes)
        self.parameters = torch.zeros(total, device=device)
        self.parameters.grad = torch.zeros(total, device=device)
        self._views = _cut(self.parameters, shapes)
        self._gradients = _cut(self.parameters.grad, shapes)
        self._start(seeds, std)
        self._inputs: list[Tensor] = []

    @property
    def parameter_count(self) -> int:
        """Numbers in one network."""
        return self.parameters.numel() // self.count

    def layers(self, network: int) -> list[tuple[Tensor, Tensor]]:
        """Return (weight (in, out), bias (out,)) of every layer of one network, as views."""
        pairs = zip(self._views[::2], self._views[1::2], strict=True)
        return [(weight[network], bias[network, 0]) for weight, bias in pairs]

    def forward(self, inputs: Tensor, *, keep: int = 0) -> Tensor:
        """Return the outputs (S, n, out) of inputs (S, n, in); ``keep`` what ``backward`` needs of the first rows."""
        self._inputs = []
        hidden = inputs
        for layer, rectified in enumerate(self.relu):
            if keep:
                self._inputs.append(hidden[:, :keep])
            hidden = _affine(hidden, self._views[2 * layer], self._views[2 * layer + 1])
            if rectified:
                hidden = hidden.relu_()
        return hidden

    def backward(self, gradient: Tensor) -> None:
        """Write the parameters' gradients, given the loss's gradient (S, keep, out) with respect to the outputs."""
        for layer in reversed(range(len(self.relu))):
            inputs = self._inputs[layer]
            _product(inputs.transpose(1, 2), gradient, out=self._gradients[2 * layer])
            torch.sum(gradient, 1, keepdim=True, out=self._gradients[2 * layer + 1])
            if layer:
                gradient = _product(gradient, self._views[2 * layer].transpose(1, 2))
                if self.relu[layer - 1]:  # a kept input is the ReLU's output: zero exactly where the ReLU is closed
                    gradient = torch.ops.aten.threshold_backward(gradient, inputs, 0)
        self._inputs = []

    def rows_stand_alone(self, count: int, *, among: int) -> bool:
        """Return whether the outputs of ``count`` rows are bit for bit the same alone and first among more rows.

        A matrix product adds up each row by itself, but which order of additions the library takes may depend on the
        number of rows; so this is tried.
        """
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn((1, among, self.widths[0]), generator=generator).expand(self.count, -1, -1)
        rows = rows.to(self.parameters.device).contiguous()
        together = self.forward(rows)
        alone = [self.forward(rows[:, part].contiguous()) for part in (slice(count), slice(count, None))]
        return torch.equal(together, torch.cat(alone, dim=1))

    def outputs(self, network: int, inputs: Tensor) -> Tensor:
        """Return one network's outputs (n, out) of inputs (n, in)."""
        hidden = inputs
        for (weight, bias), rectified in zip(self.layers(network), self.relu, strict=True):
            hidden = torch.addmm(bias, hidden, weight)
            if rectified:
                hidden = hidden.relu_()
        return hidden

    def copy(self, network: int) -> "PerceptronStack":
        """Return one network on its own, detached from the rest."""
        alone = PerceptronStack(self.widths, relu=self.relu, seeds=[0], device=self.parameters.device)
        for own, view in zip(alone._views, self._views, strict=True):
            own.copy_(view[network : network + 1])
        return alone

    def assign(self, network: int, other: "PerceptronStack") -> None:
        """Copy the single network of ``other`` into place ``network``."""
        for view, theirs in zip(self._views, other._views, strict=True):
            view[network].copy_(theirs[0])

    def _start(self, seeds: Sequence[int], std: float | None) -> None:
        for network, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            for position, view in enumerate(self._views):
                shape = view[network].shape
                if std is None:
                    bound = self._views[position - position % 2].shape[1] ** -0.5
                    drawn = torch.empty(shape).uniform_(-bound, bound, generator=generator)
                else:
                    drawn = torch.empty(shape).normal_(0.0, std, generator=generator) * (position % 2 == 0)
                view[network].copy_(drawn)


def _cut(flat: Tensor, shapes: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    views, start = [], 0
    for shape in shapes:
        size = shape[0] * shape[1] * shape[2]
        views.append(flat[start : start + size].view(shape))
        start += size
    return views


def _affine(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return hidden @ weight + bias per network; one network is a plain product, which the CPU does faster."""
    if len(weight) == 1:
        return torch.addmm(bias[0], hidden[0], weight[0]).unsqueeze(0)
    return torch.baddbmm(bias, hidden, weight)


def _product(left: Tensor, right: Tensor, *, out: Tensor | None = None) -> Tensor:
    if len(left) == 1:
        result = torch.mm(left[0], right[0], out=None if out is None else out[0])
        return result.unsqueeze(0)
    return torch.bmm(left, right, out=out)
