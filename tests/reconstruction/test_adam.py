"""Adam in pieces against PyTorch's, bit by bit."""

import pytest
import torch

from fewshot.reconstruction.adam import Adam


@pytest.mark.parametrize("piece", [4096, 1 << 20])
def test_a_hundred_steps_equal_those_of_pytorch_bit_by_bit(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.reconstruction.adam._PIECE", piece)
    generator = torch.Generator().manual_seed(0)
    mine = torch.randn(20_001, generator=generator)
    theirs = mine.clone()
    mine.grad = torch.zeros_like(mine)
    ours, reference = Adam(mine, learning_rate=1e-3), torch.optim.Adam([theirs], lr=1e-3)
    for step in range(100):
        gradient = torch.randn(len(mine), generator=generator) * 10.0 ** (step % 7 - 5)
        mine.grad.copy_(gradient)
        theirs.grad = gradient
        ours.step()
        reference.step()
        if step == 50:
            ours.learning_rate = reference.param_groups[0]["lr"] = 1e-4
    assert torch.equal(mine, theirs)
