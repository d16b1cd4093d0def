"""What a variant without a recording of its own does to an image, against torchvision, torch and plain NumPy.

Its network is the very one of a recorded variant, or is compared with a second writing elsewhere.
"""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import transforms

from fewshot.embeddings.backbones.creation import create

SIZES = [(301, 398), (151, 120), (40, 700), (449, 460), (5, 3)]
IMAGENET = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BICUBIC = transforms.InterpolationMode.BICUBIC
UNCHANGED = transforms.Normalize((0, 0, 0), (1, 1, 1))


def picture(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def ours(spec: str, image: Image.Image) -> Tensor:
    backbone = create(spec)
    return backbone.normalise(torch.from_numpy(np.asarray(backbone.preprocess(image)))[None])[0]


TORCHVISION: dict[str, tuple[Any, ...]] = {
    "clipdet:latent10k_plus": (transforms.Resize(224, BICUBIC), transforms.CenterCrop(224), CLIP),
    "clipdet:latent10k": (transforms.Resize(224, BICUBIC), transforms.CenterCrop(224), CLIP),
    "clipdetection:aigibench": (transforms.Resize((224, 224)), IMAGENET),
    "commfor:224": (transforms.Resize(256), transforms.CenterCrop(224), IMAGENET),
    "commfor:384": (transforms.Resize(440), transforms.CenterCrop(384), IMAGENET),
    "corvi2023": (IMAGENET,),
    "cospy:progan": (transforms.Resize(256), transforms.CenterCrop(224), UNCHANGED),
    "dinov2:vitb14": (transforms.Resize(256, BICUBIC), transforms.CenterCrop(224), IMAGENET),
    "dinov2:vitl14": (transforms.Resize(256, BICUBIC), transforms.CenterCrop(224), IMAGENET),
    "dinov2:vits14": (transforms.Resize(256, BICUBIC), transforms.CenterCrop(224), IMAGENET),
    "dire-rgb": (transforms.Resize(256), transforms.CenterCrop(224), IMAGENET),
    "freqnet:shorter256crop224": (transforms.Resize(256), transforms.CenterCrop(224), IMAGENET),
    "gramnet:shorter256crop224": (transforms.Resize(256), transforms.CenterCrop(224), IMAGENET),
    "siglip:base-224": (transforms.Resize((224, 224), BICUBIC), HALF),
    "siglip:large-256": (transforms.Resize((256, 256), BICUBIC), HALF),
    "siglip:so400m-384": (transforms.Resize((384, 384), BICUBIC), HALF),
    "siglip:v2-base-224": (transforms.Resize((224, 224), BICUBIC), HALF),
    "siglip:v2-so400m-384": (transforms.Resize((384, 384), BICUBIC), HALF),
    "unifd:resize256crop224": (transforms.Resize(256), transforms.CenterCrop(224), CLIP),
    "vibnet": (transforms.CenterCrop(224), CLIP),
}


@pytest.mark.second_writing("gramnet:shorter256crop224", "unifd:resize256crop224")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", TORCHVISION)
def test_input_equals_torchvisions_transforms(spec: str, size: tuple[int, int]) -> None:
    *geometry, normalise = TORCHVISION[spec]
    theirs: Any = transforms.Compose([*geometry, transforms.ToTensor(), normalise])

    torch.testing.assert_close(ours(spec, picture(*size)), theirs(picture(*size)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("variant", ["vits16", "vits16plus", "vitb16", "vitl16", "vith16plus"])
def test_dinov3_input_is_that_of_the_processor_in_transformers(variant: str, size: tuple[int, int]) -> None:
    from transformers import DINOv3ViTImageProcessorFast  # pyright: ignore[reportAttributeAccessIssue]  # lazy

    pixels = torch.from_numpy(np.asarray(picture(*size)).transpose(2, 0, 1).copy())
    theirs = DINOv3ViTImageProcessorFast()(pixels, return_tensors="pt").pixel_values[0]

    torch.testing.assert_close(ours(f"dinov3:{variant}", picture(*size)), theirs, rtol=0, atol=1e-4)


def canvas(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    """Albumentations: black around what is smaller, its odd line after the image; then the middle, margins cut down."""
    height, width = (max(length, side) for length in pixels.shape[:2])
    whole = np.zeros((height, width, 3), dtype=pixels.dtype)
    top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    top, left = (height - side) // 2, (width - side) // 2
    return whole[top : top + side, left : left + side]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", ["drct:convnext", "drct:clip"])
def test_drct_crops_and_pads_as_albumentations_does(spec: str, size: tuple[int, int]) -> None:
    theirs: Any = transforms.Compose([transforms.ToTensor(), IMAGENET])

    expected = theirs(canvas(np.asarray(picture(*size)), 224))

    torch.testing.assert_close(ours(spec, picture(*size)), expected, rtol=0, atol=1e-6)


def bilinear(image: Image.Image, height: int, width: int) -> Tensor:
    """Without antialiasing, rounded to grey levels: (3, height, width), within one level of OpenCV's fixed point."""
    pixels = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())[None].double()
    return torch.nn.functional.interpolate(pixels, (height, width), mode="bilinear")[0].round()


@pytest.mark.second_writing("drct:convnext-whole")
@pytest.mark.parametrize("size", SIZES)
def test_drct_whole_shrinks_or_enlarges_the_longer_side(size: tuple[int, int]) -> None:
    height, width = (max(1, round(length * 224 / max(size))) for length in size)
    resized = bilinear(picture(*size), height, width).permute(1, 2, 0).numpy()

    found = create("drct:convnext-whole").preprocess(picture(*size)).transpose(1, 2, 0)

    assert np.abs(found - canvas(resized, 224)).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_effort_of_deepfakebench_resizes_as_opencv_does(size: tuple[int, int]) -> None:
    expected = CLIP(bilinear(picture(*size), 224, 224).float() / 255)

    found = ours("effort:deepfakebench", picture(*size))

    assert float((found - expected).abs().max()) <= 1.01 / 255 / 0.26


@pytest.mark.second_writing("lasted:mirror")
@pytest.mark.parametrize("size", SIZES)
def test_lasted_mirror_goes_on_as_in_a_mirror(size: tuple[int, int]) -> None:
    pixels = np.asarray(picture(*size))

    def reflected(length: int) -> NDArray[Any]:
        target = max(length, 448)
        places = np.arange(target) - (target - length) // 2
        places = places[(target - 448) // 2 :][:448] % (2 * length - 2)
        return np.where(places < length, places, 2 * length - 2 - places)

    expected = pixels[reflected(size[0])][:, reflected(size[1])]

    theirs: Any = transforms.Compose([transforms.ToTensor(), IMAGENET])
    torch.testing.assert_close(ours("lasted:mirror", picture(*size)), theirs(expected.copy()), rtol=0, atol=1e-6)


@pytest.mark.second_writing("aide:antialias-on")
@pytest.mark.parametrize("size", [(301, 398), (151, 120), (40, 700)])
def test_aide_with_antialiasing_differs_in_the_whole_image_only(size: tuple[int, int]) -> None:
    steps = [transforms.ToTensor(), transforms.Resize((256, 256), antialias=True), IMAGENET]
    theirs: Any = transforms.Compose(steps)

    found = ours("aide:antialias-on", picture(*size))

    torch.testing.assert_close(found[4], theirs(picture(*size)), rtol=0, atol=2e-5)
    assert torch.equal(found[:4], ours("aide:antialias-off", picture(*size))[:4])


@pytest.mark.second_writing("lota:random64", "lota:grid16")
@pytest.mark.parametrize("size", [(301, 398), (32, 90)])
def test_lota_takes_the_crop_of_the_largest_texture(size: tuple[int, int]) -> None:
    image = picture(*size)
    plane = (np.asarray(image) & 7).astype(int) * 36
    drawn = create("lota:random64").card.input.steps[0].corners(image)  # type: ignore[attr-defined]  # see test_lota.py
    grid = [(top, left) for top in range(0, size[0] - 31, 16) for left in range(0, size[1] - 31, 16)]

    for spec, corners in (("lota:random64", drawn), ("lota:grid16", grid)):
        crops = [plane[top : top + 32, left : left + 32] for top, left in corners]
        textures = [
            sum(
                np.abs(
                    crop[down:, max(0, right) : 32 + min(0, right)]
                    - crop[: 32 - down, max(0, -right) : 32 - max(0, right)]
                ).sum()
                for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
            )
            for crop in crops
        ]
        best = Image.fromarray(crops[int(np.argmax(textures))].astype(np.uint8))
        expected = IMAGENET(bilinear(best, 256, 256).float() / 255)

        assert float((ours(spec, image) - expected).abs().max()) <= 1.01 / 255 / 0.224, spec
