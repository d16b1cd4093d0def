"""Low-rank updates beside the Linear layers of a trunk, under the key names that Fleet's files have."""

import torch
from torch import Tensor, nn


class LoraLinear(nn.Module):
    """A frozen Linear layer plus (alpha / rank) B A, of which only A and B are trained (Hu et al., ICLR 2022).

    Keys as in ICTMCG/Fleet @ fab6b41: ``lora_A`` (rank, in), ``lora_B`` (out, rank), ``original_layer.*``.

    Args:
        original: the layer; its parameters no longer ask for gradients.
        rank, alpha: of the update.
    """

    def __init__(self, original: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.original_layer = original.requires_grad_(False)
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, original.in_features))
        self.lora_B = nn.Parameter(torch.zeros(original.out_features, rank))
        nn.init.normal_(self.lora_A, std=0.02)

    def forward(self, values: Tensor) -> Tensor:
        """Return (..., out) of values (..., in)."""
        update: Tensor = (values @ self.lora_A.T @ self.lora_B.T) * self.scale
        return torch.add(self.original_layer(values), update)


def add_lora(network: nn.Module, *, containing: str, rank: int, alpha: float) -> nn.Module:
    """Put low-rank updates beside every Linear layer whose dotted name contains a word; return the network itself."""
    chosen = [name for name, module in network.named_modules() if isinstance(module, nn.Linear) and containing in name]
    for name in chosen:
        original = network.get_submodule(name)
        assert isinstance(original, nn.Linear)
        network.set_submodule(name, LoraLinear(original, rank=rank, alpha=alpha))
    return network
