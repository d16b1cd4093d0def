"""Any text as the name of a file, source, column or value goes through the commands without harm."""

import json
import tempfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fewshot.cli import group
from tests.embeddings import fakes

ANY = st.text(st.characters(), min_size=1, max_size=20)
_TERMINAL = ["\x1b[2J", "\n", "a\nfewshot: b", "\u202e", "\x7f"]
_PATHS = ["..", ".", "/", "../x", "CON", "C:\\x"]
NASTY = st.sampled_from([*_TERMINAL, *_PATHS, "$x$", "$\\q$", "<script>"])
NAMES = ANY | NASTY
FILES = st.text(st.characters(exclude_characters="/\0\\", codec="utf-8"), min_size=1, max_size=20)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(group, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code in (0, 1, 2)
    for text in (result.stdout, result.stderr):
        assert text.replace("\n", "").isprintable(), ascii(text)
        assert not any(line.startswith("fewshot: b") for line in text.split("\n"))
    return result


def write_images(folder: Path, *, file: str, sources: tuple[str, str], column: str, value: str) -> Path:
    """Write six images of two sources and a table of them; return the table."""
    rows = []
    for number in range(6):
        path = folder / "images" / f"{number}{file}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        row = {"path": f"images/{path.name}", "source": sources[number % 2], "synthetic": number % 2}
        rows.append({column: value, **row})
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "t.jsonl"


@example(file="\n", sources=("cam", "gen"), column="", value="")
@example(file="\x1b[2J", sources=("cam\x7f", "gen\u202e"), column="a\nfewshot: b", value="\x1b")
@example(file="a", sources=("\u76f8\u673a", "\u5373\u68a6"), column="", value="")  # Chinese
@given(file=FILES, sources=st.tuples(NAMES, NAMES), column=NAMES, value=NAMES)
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # making a failure smaller takes five minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
def test_no_name_leaves_its_folder_reaches_the_terminal_or_ends_in_a_traceback(
    file: str, sources: tuple[str, str], column: str, value: str
) -> None:
    fakes.register()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        table = write_images(root, file=file, sources=sources, column=column, value=value)
        store, report = root / "s.h5", root / "r.json"
        made = run("embed", table, "-b", "mean-colour", "-o", store, "--workers", 0, "-q")
        if made.exit_code:
            assert made.stderr.count("\n") == 1
            assert not store.exists()
            return
        assert json.loads(run("inspect", store, "--json").stdout)["images"] == 6
        run("inspect", store)
        run("nearest", store, "--query", store)
        run("adapt", store, "--shots", 1, "--trials", 2, "-o", report, "-q")
        run("inspect", report)
        run("report", report, "-o", root / "p.html")
        assert run("export", store, "-o", root / "out").exit_code == 0
        there = {path.name for path in root.iterdir()} - {"r.json", "p.html"}
        assert there == {"images", "t.jsonl", "s.h5", "out"}
