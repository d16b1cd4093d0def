"""Every notebook runs on a store of the reader's own when its one line is changed."""

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fewshot

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
THE_LINE = 'store = fewshot.FeatureStore(demo_store().path)  # your own: fewshot.FeatureStore("yours.h5")'


IMPORTED = re.compile(r"^from (fewshot[\w.]*) import (\w+)$", re.MULTILINE)


def code_of(notebook: Path) -> list[str]:
    """Return the code cells, without the lines that only a notebook understands."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return ["\n".join(line for line in source.splitlines() if not line.startswith("%")) for source in sources]


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of other sources than the demo's, without groups: 36 small images in folders."""
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for number, place in enumerate(("0_real/camera", "1_fake/first", "1_fake/second")):
        (folder / "images" / place).mkdir(parents=True)
        for image in range(24 if number == 0 else 12):
            pixels = random.integers(0, 256, (64, 64, 3)) // (1 + number)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / place / f"{image}.png")
    store = fewshot.embed(
        folder / "images", backbones=["spectrum", "efficientnet-lite0"], out=folder / "yours.h5", workers=0
    )
    return store.path


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_on_another_store_by_changing_one_line(
    notebook: Path, own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = code_of(notebook)
    assert [cell.count(THE_LINE) for cell in cells] == [1] + [0] * (len(cells) - 1)
    cells[0] = cells[0].replace(THE_LINE, f"store = fewshot.FeatureStore({str(own_store)!r})")
    shown = types.ModuleType("IPython.display")
    shown.display = print  # type: ignore[attr-defined]  # what a notebook shows, this prints
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    monkeypatch.chdir(tmp_path)

    names: dict[str, object] = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"{notebook.name}, code cell {number}", "exec"), names)

    assert isinstance(names["store"], fewshot.FeatureStore)
    assert list(names["store"].sources) == ["camera", "first", "second"]
    assert list(tmp_path.iterdir()) == []  # the demo was not made


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_name_of_a_notebook_is_public_or_documented(notebook: Path) -> None:
    code, documented = "\n".join(code_of(notebook)), (ROOT / "docs/reference/api.md").read_text("utf-8")
    assert set(re.findall(r"\bfewshot\.([A-Za-z]\w*)\(", code)) <= set(fewshot.__all__)
    assert [name for name in map(".".join, IMPORTED.findall(code)) if f"::: {name}\n" not in documented] == []
    assert "print(report" not in code  # frames, not tables of text
