"""A folder that is filled and emptied is ours by its mark, or it is left alone."""

from pathlib import Path

import pytest

from fewshot.core.errors import OutputError
from fewshot.core.marked_folders import MARK, claim_folder, is_claimed


def test_a_new_or_empty_folder_is_marked_and_taken_again(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        folder = claim_folder(tmp_path / name, purpose="points")
        (folder / "point").write_text("")
        assert claim_folder(tmp_path / name, purpose="points") == folder
        assert is_claimed(folder, purpose="points")
        assert sorted(path.name for path in folder.iterdir()) == [MARK, "point"]


@pytest.mark.parametrize("mark", [None, "", "mine", "link"])
def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path, mark: str | None) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "work").write_text("precious")
    if mark == "link":
        (folder / MARK).symlink_to(claim_folder(tmp_path / "ours", purpose="points") / MARK)
    elif mark is not None:
        (folder / MARK).write_text(mark)
    before = sorted(path.name for path in folder.iterdir())

    with pytest.raises(OutputError, match="theirs is needed for points, and holds something else; nothing in it is"):
        claim_folder(folder, purpose="points")

    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_folder_of_another_purpose_is_refused(tmp_path: Path) -> None:
    claim_folder(tmp_path / "a", purpose="points")

    with pytest.raises(OutputError, match="needed for images"):
        claim_folder(tmp_path / "a", purpose="images")


def test_a_folder_that_an_earlier_version_made_is_taken(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("")

    claim_folder(tmp_path, purpose="points", older=lambda folder: (folder / "old").is_file())

    assert is_claimed(tmp_path, purpose="points")
