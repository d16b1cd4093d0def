"""The gallery of queries and their nearest images, as HTML and as PNG."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.core.errors import OptionError, OutputError
from fewshot.embeddings.search.lookup import Evidence, Finding, SourceScore
from fewshot.page.gallery import Shown, write_gallery
from fewshot.page.tile import SIDE


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (300, 200), colour).save(path)
    return path


def shown(folder: Path, *, name: str = "photo.png", truth: str | None = "camera") -> Shown:
    finding = Finding(
        image=name,
        sources=(SourceScore("camera", 2, 0.8, 0.9),),
        neighbours=(Evidence(0, "a/red.png", "camera", 0.9), Evidence(1, "a/gone.png", "gan", 0.7)),
        p_value=0.25,
    )
    return Shown(
        finding, picture(folder / "query.png", (0, 0, 255)), [picture(folder / "red.png", (255, 0, 0)), None], truth
    )


def test_the_page_holds_every_picture_and_loads_nothing(tmp_path: Path) -> None:
    page = write_gallery([shown(tmp_path)], tmp_path / "g.html", title="Near", note="npr").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")
    assert "is camera" in page
    assert "share 0.80, p 0.250" in page
    assert page.count('class="right"') == 2
    assert page.count('class="wrong"') == 1
    assert "Green edge: of the source that the query has; red edge: of another." in page


def test_names_cannot_write_into_the_page(tmp_path: Path) -> None:
    query = shown(tmp_path, name="<script>alert(1)</script>.png")
    assert "<script>" not in write_gallery([query], tmp_path / "g.html", title="<b>", note="<i>").read_text()


def test_the_picture_shows_query_and_neighbour_in_their_colours_and_a_grey_gap_for_a_lost_file(tmp_path: Path) -> None:
    path = write_gallery([shown(tmp_path)], tmp_path / "g.png", title="Near", note="")
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    blue = np.argwhere((pixels == (0, 0, 255)).all(axis=2))
    red = np.argwhere((pixels == (255, 0, 0)).all(axis=2))
    grey = np.argwhere((pixels == (0xE6, 0xE6, 0xE6)).all(axis=2))
    assert len(blue) == len(red) == SIDE * (SIDE * 2 // 3)
    top, left = grey[0]
    assert (pixels[top : top + SIDE, left : left + SIDE] == 0xE6).all()
    assert blue[:, 1].max() < red[:, 1].min() < red[:, 1].max() < left


def test_without_a_true_source_nothing_is_right_or_wrong(tmp_path: Path) -> None:
    page = write_gallery([shown(tmp_path, truth=None)], tmp_path / "g.html", title="Near").read_text()
    assert page.count('class="neutral"') == 3
    assert "Green edge" not in page


def test_more_queries_than_are_shown_are_said(tmp_path: Path) -> None:
    page = write_gallery([shown(tmp_path)] * 101, tmp_path / "g.html", title="Near").read_text()
    assert page.count('class="query"') == 100
    assert "The first 100 of 101 queries are shown." in page


def test_a_file_that_is_no_picture_leaves_a_gap(tmp_path: Path) -> None:
    query = shown(tmp_path)
    (tmp_path / "red.png").write_bytes(b"no picture")
    page = write_gallery([query], tmp_path / "g.html", title="Near").read_text()
    assert page.count("data:image/jpeg") == 1


def test_a_gallery_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"written as \.html or \.png, not 'g\.gif'"):
        write_gallery([shown(tmp_path)], tmp_path / "g.gif", title="Near")
    with pytest.raises(OutputError, match=r"there is no folder .*/no; make it, or give another path by --gallery"):
        write_gallery([shown(tmp_path)], tmp_path / "no" / "g.html", title="Near")
