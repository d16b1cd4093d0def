"""What becomes of images smaller than a detector's crop."""

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from fewshot.core.errors import OptionError, UnknownNameError
from fewshot.embeddings.backbones.creation import create

SMALL = Image.fromarray(np.random.default_rng(0).integers(1, 256, (100, 90, 3), dtype=np.uint8))


def test_padding_with_black_is_the_default() -> None:
    pixels = create("unifd").preprocess(SMALL)

    assert (pixels == 0).mean() == pytest.approx(1 - 100 * 90 / 224**2)
    assert create("unifd:crop224+pad").card.input == create("unifd").card.input


def test_tiling_repeats_the_image() -> None:
    backbone = create("unifd:crop224+tile")
    tiled = np.tile(np.asarray(SMALL), (3, 3, 1))

    pixels = backbone.preprocess(SMALL)

    assert backbone.card.name == "unifd:+tile"
    assert create(backbone.card.name).card == backbone.card
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), tiled[38:262, 23:247])


def test_resizing_enlarges_the_shorter_side() -> None:
    backbone = create("npr:crop224+resize")
    theirs = transforms.Compose([transforms.Resize(224), transforms.CenterCrop(224)])

    np.testing.assert_array_equal(backbone.preprocess(SMALL).transpose(1, 2, 0), np.asarray(theirs(SMALL)))


def test_another_rule_for_small_images_has_no_recording_of_its_own() -> None:
    found = {spec: create(spec).card.equality for spec in ("npr:crop224", "npr:crop224+resize", "unifd:crop224+pad")}

    assert found == {"npr:crop224": "golden", "npr:crop224+resize": "code-equivalent", "unifd:crop224+pad": "golden"}


def test_a_large_image_is_untouched_by_any_rule() -> None:
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 290, 3), dtype=np.uint8))
    rules = ("safe", "safe:crop256+tile", "safe:crop256+resize")

    first, second, third = (create(rule).preprocess(large) for rule in rules)

    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_a_detector_that_resizes_has_no_small_images() -> None:
    with pytest.raises(OptionError, match=r"backbone 'npr' does not crop native pixels .*leave \+tile out"):
        create("npr:resize256+tile")
    with pytest.raises(UnknownNameError, match="no small-image rule 'tiled'; did you mean 'tile'"):
        create("unifd:crop224+tiled")
