"""Query images at paths that the system does not take are refused by a sentence, beside those that can be read."""

from pathlib import Path

import pytest

import fewshot
from fewshot.core.errors import InputError
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.query import from_images

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", "x" * 5000, ""])
def test_a_path_that_no_file_can_have_is_named_and_the_others_are_read(name: str, tree: Path, tmp_path: Path) -> None:
    store = fewshot.embed(
        tree, backbones="mean-colour", weights=["all=random"], out=tmp_path / "s.h5", quiet=True, workers=0
    )
    index, sound = SourceIndex(store), tree / store.column("path")[0]

    with pytest.raises(InputError, match="none of 1 images can be read; the first, "):
        from_images(index, [Path(name)], weights=["all=random"], workers=0)
    found = from_images(index, [Path(name), sound], weights=["all=random"], workers=0)

    assert found.images == (str(sound),)
    assert [path for path, _ in found.failed] == [str(Path(name))]
