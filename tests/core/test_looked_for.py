"""Messages about a relative path say in which folder it was looked for."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.core.looked_for import looked_for, why_unread


def test_a_relative_path_is_followed_by_its_folder_and_an_absolute_one_by_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert looked_for("natural/x.png") == f" (looked for in {tmp_path})"
    assert looked_for(tmp_path / "x.png") == ""
    assert why_unread("x.json", FileNotFoundError(2, "No such file or directory")).endswith(
        f", looked for in {tmp_path}"
    )
    assert why_unread("x.json", PermissionError(13, "Permission denied")) == "Permission denied"


@pytest.mark.parametrize(
    "command",
    [
        "embed photos -b spectrum -o s.h5",
        "embed list.csv -b spectrum -o s.h5",
        "adapt s.h5",
        "replay r.json",
        "inspect r.json",
        "card x.detector",
        "drift x.detector log.jsonl",
        "fit support.csv -b spectrum -o x.detector",
    ],
)
def test_commands_say_where_they_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, command.split())
    assert done.exit_code == 1, done.output
    given = next(word for word in command.split()[1:] if "." in word or word == "photos")
    named = (f"looked for in {tmp_path}", f"{tmp_path / given};")  # roots are written out as absolute paths
    assert any(name in done.stderr for name in named), done.stderr


def test_images_of_a_table_that_are_missing_were_looked_for_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.detector.made_inputs import write_images

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_images(tmp_path / "data", ["a.png"], synthetic=False, seed=1)
    write_images(tmp_path / "data", ["b.png"], synthetic=True, seed=2)
    rows = ["path,source,synthetic", "a.png,cam,0", "b.png,sd3,1", "c.png,sd3,1"]
    (tmp_path / "data/list.csv").write_text("\n".join(rows))
    done = CliRunner().invoke(group, ["embed", "data/list.csv", "-b", "spectrum", "--workers", "0", "-q", "-o", "s.h5"])
    assert done.exit_code == 0, done.stderr
    assert "failed: c.png: missing: there is no such file" in done.stdout
    assert f"files that are missing were looked for in {tmp_path / 'data'}" in done.stdout


@pytest.mark.parametrize(
    ("header", "command", "wanted"),
    [
        ("file,source,synthetic", "embed t.csv -b spectrum -o s.h5", ("missing path", "columns are file, source")),
        ("path,kind", "embed t.csv -b spectrum -o s.h5", ("missing source, synthetic", "columns are path, kind")),
    ],
)
def test_a_table_without_its_columns_names_those_found_and_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str, command: str, wanted: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(f"{header}\n{','.join('x' for _ in header.split(','))}\n")
    done = CliRunner().invoke(group, command.split())
    assert done.exit_code == 1
    for part in wanted:
        assert part in done.stderr, done.stderr


def test_a_table_of_labels_without_its_columns_names_those_found_and_missing(tmp_path: Path) -> None:
    from fewshot.core.errors import InputError
    from fewshot.detector.labelled_table import read_labels

    (tmp_path / "t.csv").write_text("file,kind\nx.png,1\n")
    with pytest.raises(InputError, match="wanted the columns path and label, found file, kind; missing path and label"):
        read_labels(tmp_path / "t.csv")
