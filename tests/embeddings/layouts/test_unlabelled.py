"""Folders without class words, of which the user says what they are."""

from pathlib import Path

import pytest
from PIL import Image

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.collection import collect


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("inbox/a.png", "inbox/monday/b.png", "inbox/fake/sdxl/c.png", "inbox/val/d.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / path)
    return tmp_path / "inbox"


def test_unlabelled_images_are_of_the_class_that_is_given_and_labelled_ones_stay(root: Path) -> None:
    for synthetic in (False, True):
        found = {sample.path: sample for sample in collect([root], unlabelled=synthetic, one_class=True).samples}
        assert {path: sample.synthetic for path, sample in found.items()} == {
            "a.png": synthetic,
            "monday/b.png": synthetic,
            "fake/sdxl/c.png": True,
            "val/d.png": synthetic,
        }
        assert {path: sample.source for path, sample in found.items()} == {
            "a.png": "inbox",
            "monday/b.png": "monday",
            "fake/sdxl/c.png": "sdxl",
            "val/d.png": "inbox",
        }


def test_without_a_class_they_are_refused_with_the_option(root: Path) -> None:
    with pytest.raises(InputError, match="--unlabelled"):
        collect([root])
