"""Any module's output by name, as one vector per image."""

import torch
from torch import Tensor, nn

from fewshot.embeddings.networks.taps import Taps, Tokens, shapes


class TinyTransformer(nn.Module):
    """A class token, a register, and four patch tokens through two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Linear(3, 5)), nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True))
        )

    def forward(self, images: Tensor) -> Tensor:
        patches = images.flatten(2).transpose(1, 2)
        tokens = torch.cat([patches.mean(dim=1, keepdim=True), torch.zeros_like(patches[:, :1]), patches], dim=1)
        hidden: Tensor = self.blocks(tokens)
        return hidden[:, 0]


def test_class_and_mean_tokens_are_those_of_the_module_named() -> None:
    torch.manual_seed(0)
    network, images = TinyTransformer(), torch.randn(3, 3, 2, 2)
    taps = Taps(network, Tokens(prefix=2))

    with torch.no_grad():
        found = taps.read(images, ("pooled", "blocks.0.cls", "blocks.0.mean"))
        first = network.blocks[0]
        patches = images.flatten(2).transpose(1, 2)

        torch.testing.assert_close(found["blocks.0.cls"], first(patches.mean(dim=1)))
        torch.testing.assert_close(found["blocks.0.mean"], first(patches).mean(dim=1))
        assert torch.equal(found["pooled"], network(images))
    assert set(found) == {"pooled", "blocks.0.cls", "blocks.0.mean"}


def test_an_output_written_over_later_is_read_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        found = Taps(network).read(images, ("0.mean",))
        expected = network[0](images).mean(dim=(2, 3))

    torch.testing.assert_close(found["0.mean"], expected)


def test_channels_last_maps_are_averaged_over_space() -> None:
    assert torch.equal(Tokens(channels_last=True).vectors(torch.ones(2, 4, 5, 6))["mean"], torch.ones(2, 6))


def test_shapes_are_known_without_weights() -> None:
    with torch.device("meta"):
        network = TinyTransformer()

    found = shapes(network, size=(2, 2), tokens=Tokens(prefix=2))

    assert found.pooled == 7
    assert found.layers["blocks.1.cls"] == 7
    assert found.blocks == {"pooled": 7, "blocks.0.cls": 5, "blocks.0.mean": 5, "blocks.1.cls": 7, "blocks.1.mean": 7}
    assert found.parameters == 3 * 5 + 5 + 5 * 7 + 7
