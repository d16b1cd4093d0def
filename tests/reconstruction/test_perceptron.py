"""Gradients written by hand against automatic ones; networks side by side against networks alone."""

import pytest
import torch
from torch import nn

from fewshot.reconstruction.perceptron import PerceptronStack

WIDTHS, RELU = (7, 11, 3, 5), (True, False, False)


def as_module(stack: PerceptronStack, network: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for (weight, bias), rectified in zip(stack.layers(network), stack.relu, strict=True):
        linear = nn.Linear(weight.shape[0], weight.shape[1])
        linear.weight.data.copy_(weight.T)
        linear.bias.data.copy_(bias)
        parts += [linear, nn.ReLU()] if rectified else [linear]
    return nn.Sequential(*parts)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("rows", [1, 9, 32])
@pytest.mark.parametrize(
    ("widths", "relu"), [(WIDTHS, RELU), ((256, 512, 256, 3), (True, True, False)), ((1, 256, 1), (True, False))]
)
def test_written_gradients_equal_automatic_ones(
    widths: tuple[int, ...], relu: tuple[bool, ...], rows: int, count: int
) -> None:
    stack = PerceptronStack(widths, relu=relu, seeds=range(count))
    generator = torch.Generator().manual_seed(1)
    inputs, others = (torch.randn(count, number, widths[0], generator=generator) for number in (rows, 5))

    outputs, _ = stack.forward_each([inputs, others], keep=True)  # the others pass forward and not back
    stack.backward(2 * outputs)

    gradients = _gradients_per_network(stack)
    for network in range(count):
        module = as_module(stack, network)
        expected = module(inputs[network])
        expected.square().sum().backward()
        torch.testing.assert_close(outputs[network], expected)
        torch.testing.assert_close(stack.outputs(network, inputs[network]), expected)
        wanted = [p.grad.T if p.grad.dim() == 2 else p.grad for p in module.parameters() if p.grad is not None]
        for found, want in zip(gradients[network], wanted, strict=True):
            torch.testing.assert_close(found, want)


def _gradients_per_network(stack: PerceptronStack) -> list[list[torch.Tensor]]:
    twin = PerceptronStack(stack.widths, relu=stack.relu, seeds=[None] * stack.count)
    assert not twin.parameters.any()
    assert stack.parameters.grad is not None
    twin.parameters.copy_(stack.parameters.grad)
    return [[part for pair in twin.layers(network) for part in pair] for network in range(stack.count)]


def test_a_network_starts_the_same_alone_and_beside_others() -> None:
    alone = PerceptronStack(WIDTHS, relu=RELU, seeds=[5])
    beside = PerceptronStack(WIDTHS, relu=RELU, seeds=[2, 5, 9])
    assert torch.equal(beside.copy(1).parameters, alone.parameters)


def test_the_default_start_lies_within_one_over_root_of_the_inputs() -> None:
    weight, bias = PerceptronStack((400, 300), relu=(False,), seeds=[0]).layers(0)[0]
    bound = 400**-0.5
    assert weight.abs().max() <= bound
    assert bias.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)


def test_the_normal_start_has_the_wanted_deviation_and_no_bias() -> None:
    weight, bias = PerceptronStack((400, 300), relu=(False,), seeds=[0], std=0.02).layers(0)[0]
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert torch.count_nonzero(bias) == 0


@pytest.mark.parametrize("count", [1, 3])
def test_groups_of_rows_that_pass_together_come_out_as_alone(count: int) -> None:
    stack = PerceptronStack((96, 128, 32, 96), relu=RELU, seeds=range(count))
    groups = [torch.randn(count, rows, 96, generator=torch.Generator().manual_seed(rows)) for rows in (64, 8, 128)]
    together = stack.forward_each(groups)
    assert all(torch.equal(outputs, stack.forward(rows)) for outputs, rows in zip(together, groups, strict=True))


def test_a_rectified_output_is_refused() -> None:
    with pytest.raises(ValueError, match="the outputs have no ReLU"):
        PerceptronStack((7, 5), relu=(True,), seeds=[0])
