"""What files hold beyond the embedded pixels, per class."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import fewshot
from fewshot.audit import audit
from fewshot.audit.left_out import LeftOut, left_out
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import write_store


def samples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "key": list("abcdef"),
            "source": ["cam"] * 3 + ["gan"] * 3,
            "synthetic": [False] * 3 + [True] * 3,
            "mode": ["RGB", "RGB", "LA", "RGBA", "P", "RGB"],
            "metadata": ["exif", "", "", "frames=12", "text,frames=2", "frames=3,unread"],
            "not_in_pixels": ["orientation=6", "orientation=8", "", "", "alpha", "orientation=3,alpha"],
        }
    )


def test_orientation_alpha_and_frames_are_counted_by_class(tmp_path: Path) -> None:
    write_store(tmp_path / "a.h5", samples(), [])
    store = FeatureStore(tmp_path / "a.h5")

    found = audit(store).left_out

    assert found == (LeftOut("orientation", 2, 1), LeftOut("alpha", 1, 3), LeftOut("frames", 0, 3))
    assert left_out(store, np.array([0, 1])) == (LeftOut("orientation", 2, 0),)


def test_a_store_of_an_earlier_version_tells_alpha_channels_and_frames(tmp_path: Path) -> None:
    write_store(tmp_path / "a.h5", samples().drop(columns="not_in_pixels"), [])
    store = FeatureStore(tmp_path / "a.h5")

    assert left_out(store, np.arange(6)) == (LeftOut("alpha", 1, 1), LeftOut("frames", 0, 3))


@pytest.mark.parametrize("turned", [False, True])
def test_embedding_notes_the_orientation_where_there_is_one(tmp_path: Path, turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder in ("natural/cam", "synthetic/gan"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        Image.new("RGB", (40, 30), (len(folder), 2, 3)).save(
            tmp_path / "images" / folder / "a.jpg", exif=exif if turned and "cam" in folder else b""
        )

    store = fewshot.embed(
        tmp_path / "images", backbones="spectrum", out=tmp_path / "a.h5", workers=0, quiet=True, weights=["all=random"]
    )

    assert ("not_in_pixels" in store.columns) == turned
    assert left_out(store, np.arange(2)) == ((LeftOut("orientation", 1, 0),) if turned else ())
