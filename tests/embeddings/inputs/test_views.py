"""Views: their grammar, and each perturbation against an independent computation."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from fewshot.core.errors import OptionError, UnknownNameError
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.inputs.views import KINDS, View, noise, parse, perturb
from fewshot.embeddings.pipeline.forward import perturbed_input

PHOTO = np.random.default_rng(0).integers(0, 256, size=(40, 30, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PHOTO)


def seen(text: str, *, pixel_id: str = "a") -> np.ndarray:
    return np.asarray(perturb(IMAGE, parse(text).pixels, pixel_id=pixel_id))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("clean", "clean"),
        ("jpeg:75.0", "jpeg:75"),
        ("resize:0.50+jpeg:75", "resize:0.5+jpeg:75"),
        ("clean+blur:1", "blur:1"),
        ("input-noise:0.05", "input-noise:0.05"),
        ("input-noise:0.05:normalised", "input-noise:0.05"),
        ("input-noise:0.009:unit:2", "input-noise:0.009:unit:2"),
        ("jpeg:75+input-blur:0.55", "jpeg:75+input-blur:0.55"),
    ],
)
def test_equal_views_have_one_name_that_reads_back(written: str, name: str) -> None:
    assert parse(written).name == name
    assert parse(name) == parse(written)


@pytest.mark.parametrize(
    ("written", "error", "text"),
    [
        ("jepg:75", UnknownNameError, "did you mean 'jpeg'"),
        ("jpeg", OptionError, "needs a number, as in 'jpeg:QUALITY"),
        ("jpeg:0", OptionError, "takes 1 to 100"),
        ("jpeg:75.5", OptionError, "takes a whole number"),
        ("blur:1:2", OptionError, "takes one number"),
        ("crop:1.5", OptionError, "takes 0.01 to 1"),
        ("input-blur:1+jpeg:75", OptionError, "at the end"),
        ("input-noise:0.1:pixels", OptionError, "normalised or :unit"),
    ],
)
def test_a_misspelt_view_gets_its_sentence(written: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        parse(written)


def test_every_kind_that_is_listed_can_be_parsed() -> None:
    for kind in KINDS:
        assert isinstance(parse(kind.name if not kind.argument else f"{kind.name}:1"), View)


def test_jpeg_is_pillows_encoding() -> None:
    stream = io.BytesIO()
    IMAGE.save(stream, "JPEG", quality=75)

    np.testing.assert_array_equal(seen("jpeg:75"), np.asarray(Image.open(stream)))


def test_blur_equals_scipys_gaussian_filter() -> None:
    for sigma in (0.5, 1.0, 2.3):
        expected = gaussian_filter(PHOTO.astype(np.float64), sigma=(sigma, sigma, 0), mode="reflect", truncate=4.0)
        assert np.abs(seen(f"blur:{sigma}").astype(int) - np.rint(expected)).max() <= 1
        assert (seen(f"blur:{sigma}") == np.rint(expected)).mean() > 0.99


def test_resize_and_crop_have_the_size_and_the_middle() -> None:
    assert seen("resize:0.5").shape == (20, 15, 3)
    np.testing.assert_array_equal(seen("crop:0.5"), PHOTO[10:30, 7:22])


def test_chains_are_done_from_left_to_right() -> None:
    halved = perturb(IMAGE, parse("resize:0.5").pixels, pixel_id="a")
    stream = io.BytesIO()
    halved.save(stream, "JPEG", quality=60)

    np.testing.assert_array_equal(seen("resize:0.5+jpeg:60"), np.asarray(Image.open(stream)))


def test_noise_follows_from_the_pixels_and_has_its_spread() -> None:
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    steps = parse("noise:0.05").pixels
    one, again, other = (np.asarray(perturb(grey, steps, pixel_id=name)).astype(int) for name in ("a", "a", "b"))

    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.9
    assert (one - 128).std() == pytest.approx(0.05 * 255, rel=0.02)
    assert abs((one - 128).mean()) < 0.2


def test_noise_is_standard_normal_and_frozen() -> None:
    drawn = noise((100_000,), seed="pixels")

    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(noise((3,), seed="a"), [1.2666613, 0.2625428, -0.9190355], atol=1e-6)


@pytest.mark.usefixtures("fakes")
def test_input_views_act_in_the_units_they_name() -> None:
    backbone = create("projection")
    batch = torch.from_numpy(np.ascontiguousarray(PHOTO[:8, :8].transpose(2, 0, 1)))[None]
    unit = batch.double() / 255

    def got(text: str) -> torch.Tensor:
        step = parse(text).input
        assert step is not None
        return perturbed_input(backbone, batch, step, ["a"]).double() * 0.25 + 0.5

    draw = torch.from_numpy(noise((3, 8, 8), seed="a input-noise draw 0")).double()
    weights = torch.exp(-0.5 * (torch.tensor([-1.0, 0, 1]).double() / 0.55) ** 2)
    kernel = torch.outer(weights, weights) / weights.sum() ** 2
    padded = torch.nn.functional.pad(unit, (1, 1, 1, 1), mode="reflect")
    blurred = torch.nn.functional.conv2d(padded, kernel.expand(3, 1, 3, 3), groups=3)
    for text, expected in (
        ("input-noise:0.05", unit + 0.05 * 0.25 * draw),
        ("input-noise:0.3:unit", (unit + 0.3 * draw).clamp(0, 1)),
        ("input-blur:0.55", blurred),
        ("input-unsharp:0.55", (2 * unit - blurred).clamp(0, 1)),
    ):
        torch.testing.assert_close(got(text), expected, rtol=0, atol=1e-6)
