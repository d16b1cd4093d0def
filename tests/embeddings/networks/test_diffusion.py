"""DDIM inversion, the ADM network's layout, and the maps of DIRE, without weights."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.dire import classifier_input, difference_map
from fewshot.embeddings.inputs.detector_crops import AdmCrop
from fewshot.embeddings.networks.diffusion import AdmUNet, linear_schedule, reconstruct
from fewshot.embeddings.networks.trunks import ResNet50


def test_the_schedule_keeps_every_fiftieth_of_a_thousand_steps() -> None:
    schedule = linear_schedule()
    product, expected = 1.0, []
    for step in range(1000):
        product *= 1 - (0.0001 + step * (0.02 - 0.0001) / 999)
        if step % 50 == 0:
            expected.append(product)

    assert schedule.times == tuple(range(0, 1000, 50))
    np.testing.assert_allclose(schedule.alphas, expected, rtol=1e-9)


def test_inversion_and_sampling_equal_a_plain_loop_of_the_ddim_equation() -> None:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    schedule = linear_schedule()

    def noise(hidden: Tensor, time: int) -> Tensor:
        return torch.sin(3 * hidden + time / 100)

    expected = images.numpy()
    alphas = [1.0, *schedule.alphas, 0.0]
    for index in range(20):  # from level index to index + 1, the noise taken at the step itself
        expected = ddim_step(expected, alphas[index + 1], alphas[index + 2], schedule.times[index])
    for index in reversed(range(20)):
        expected = ddim_step(expected, alphas[index + 1], alphas[index], schedule.times[index])

    np.testing.assert_allclose(reconstruct(noise, images, schedule).numpy(), expected, rtol=1e-9, atol=1e-12)


def ddim_step(hidden: np.ndarray, alpha: float, target: float, time: int) -> np.ndarray:
    image = np.clip((hidden - math.sqrt(1 - alpha) * np.sin(3 * hidden + time / 100)) / math.sqrt(alpha), -1, 1)
    direction = (hidden / math.sqrt(alpha) - image) / math.sqrt(1 / alpha - 1)
    return np.asarray(math.sqrt(target) * image + math.sqrt(1 - target) * direction)


def test_a_network_that_knows_the_noise_gives_the_image_back() -> None:
    images = torch.full((1, 3, 2, 2), 0.25, dtype=torch.float64)
    alphas = dict(zip(linear_schedule().times, linear_schedule().alphas, strict=True))

    def noise(hidden: Tensor, time: int) -> Tensor:
        return (hidden - math.sqrt(alphas[time]) * images) / math.sqrt(1 - alphas[time])

    torch.testing.assert_close(reconstruct(noise, images, linear_schedule()), images)


def test_the_network_has_the_parameters_of_the_published_file() -> None:
    with torch.device("meta"):
        network = AdmUNet()

    keys = network.state_dict()
    assert sum(parameter.numel() for parameter in network.parameters()) == 552_814_086
    for key in (
        "time_embed.2.weight",
        "input_blocks.0.0.weight",
        "input_blocks.3.0.in_layers.2.weight",
        "input_blocks.17.1.qkv.weight",
        "middle_block.1.proj_out.weight",
        "output_blocks.0.0.skip_connection.weight",
        "output_blocks.2.2.out_layers.3.weight",
        "out.2.weight",
    ):
        assert key in keys
    assert network(torch.zeros(1, 3, 256, 256, device="meta"), 50).shape == (1, 3, 256, 256)


class Still(torch.nn.Module):
    """A stand-in for the diffusion network, which would take half an hour an image: noise that depends on pixels."""

    def forward(self, hidden: Tensor, time: int) -> Tensor:
        return torch.tanh(hidden.roll(1, dims=3) + hidden.mean(dim=(1, 2, 3), keepdim=True) + time / 1000)


def test_rows_of_dire_do_not_depend_on_batch_or_order() -> None:
    dire = create("dire")
    dire.network = torch.nn.ModuleDict({"net": ResNet50(outputs=1), "diffusion": Still()}).eval()
    seeds = range(7)
    images = [np.random.default_rng(seed).integers(0, 256, (40 + seed, 50, 3), dtype=np.uint8) for seed in seeds]
    batch = torch.stack([torch.from_numpy(dire.preprocess(Image.fromarray(image))) for image in images])

    together, turned, alone = dire.embed(batch), dire.embed(batch.flip(0)), dire.embed(batch[2:3])

    for layer in ("feature", "logit"):
        largest = together[layer].abs().max()
        assert float((together[layer] - turned[layer].flip(0)).abs().max()) <= 1e-4 * largest
        assert float((together[layer][2] - alone[layer][0]).abs().max()) <= 1e-4 * largest
    assert not torch.allclose(together["feature"][0], together["feature"][1], rtol=1e-3)


def test_maps_are_whole_grey_levels_cut_off_below() -> None:
    images = torch.tensor([0.0, 1.0, -1.0]).view(1, 3, 1, 1)
    reconstructed = torch.tensor([0.0119, -1.0, -0.5]).view(1, 3, 1, 1)

    assert difference_map(images, reconstructed).flatten().tolist() == [1.0, 255.0, 63.0]


def test_the_classifier_sees_the_middle_of_the_map() -> None:
    maps = torch.zeros(1, 3, 256, 256)
    maps[..., 16:240, 16:240] = 255

    expected = (1 - 0.485) / 0.229
    torch.testing.assert_close(classifier_input(maps)[:, 0], torch.full((1, 224, 224), expected))


def test_crop_halves_by_boxes_while_twice_too_large() -> None:
    pixels = np.kron(np.random.default_rng(0).integers(0, 256, (8, 10, 3)), np.ones((2, 2, 1))).astype(np.uint8)

    found = np.asarray(AdmCrop(8)(Image.fromarray(pixels)))

    np.testing.assert_array_equal(found, pixels[::2, ::2][:, 1:9])
