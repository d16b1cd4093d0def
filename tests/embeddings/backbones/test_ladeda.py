"""LaDeDa's two files differ by the factor of the residual."""

import numpy as np
import pytest
import torch

from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights


@pytest.mark.second_writing("ladeda:forensynth")
def test_forensynth_variant_equals_the_other_with_its_first_kernel_scaled() -> None:
    batch = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8))
    plain = create("ladeda:npr").load(device="cpu", weights=RandomWeights())
    scaled = create("ladeda:forensynth").load(device="cpu", weights=RandomWeights())
    plain.network.get_parameter("conv1.weight").mul_(2 / 3)
    first, second = (backbone.embed(batch)["feature"] for backbone in (plain, scaled))
    assert float((first - second).abs().max() / first.abs().max()) < 1e-5
