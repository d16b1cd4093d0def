"""No name of a file, source, column, weight or command line reaches a terminal with what the terminal would obey."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import fewshot
from fewshot.cli import group
from fewshot.embeddings.store.writer import LayerData, write_store
from tests.embeddings import fakes

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.\u2066\u200bexe\r\x7f\nfewshot: all is well"
COLUMN = f"column{EVIL}".translate({13: None, 10: None})  # a table's header is one line
UNSEEN = "\u202egnp.\u2066\u200bexe"  # what the source of a table may still hold: no control character
ROOT = Path(fewshot.__file__).parent


def require_inert(text: str) -> None:
    """Raise where a text holds what a terminal obeys, or a line that a name forged."""
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line.startswith("fewshot: all is well"), ascii(text)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(group, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    require_inert(result.stdout)
    require_inert(result.stderr)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in folders and files with such names, and a table with such columns and values."""
    root = tmp_path_factory.mktemp("terminal") / f"root{EVIL}"
    rows = []
    for synthetic, source in ((0, f"cam{UNSEEN}"), (1, f"gen{UNSEEN}"), (1, "plain")):
        for number in range(12):
            path = root / f"{source}-{number}{EVIL}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number + 100 * synthetic).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            rows.append({"path": path.name, "source": source, "synthetic": synthetic, COLUMN: f"value{EVIL}"})
    (root / f"broken{EVIL}.png").write_bytes(b"no image")
    rows.append({"path": f"broken{EVIL}.png", "source": "plain", "synthetic": 1, COLUMN: ""})
    pd.DataFrame(rows).to_csv(root / "manifest.csv")
    return root


@pytest.fixture(scope="module")
def store(folder: Path) -> Path:
    fakes.register()
    out = folder.parent / f"store{EVIL}.h5"
    result = run("embed", folder, "-b", "mean-colour", "-o", out, "--workers", 0, "--view", "clean,jpeg:50")
    assert result.exit_code == 0, result.stderr
    assert "left out: 1 x column of manifest.csv without a name" in result.stderr
    assert "failed: broken\\x1b]0;title" in result.stdout
    return out


@pytest.fixture(scope="module")
def report(store: Path) -> Path:
    out = store.with_name(f"report{EVIL}.json")
    assert run("adapt", store, "--shots", 2, "--trials", 3, "-o", out, "--keep-scores").exit_code == 0
    return out


COMMANDS = """\
inspect STORE
inspect REPORT
verify STORE
audit STORE
nearest STORE --query STORE
nearest STORE IMAGE
adapt STORE --trials 2 --shots 2
robustness STORE --trials 2 --shots 2
compare REPORT REPORT
replay REPORT
"""
BESIDE = (("page", ".html"), ("out", ""), ("gallery", ".html"), ("confusion", ".png"))
MISTAKES = """\
EVIL
--EVIL
inspect EVIL
inspect EVIL.json
adapt EVIL
report EVIL
verify EVIL
replay EVIL
nearest EVIL EVIL
compare EVIL x EVIL
embed EVIL -b npr -o x.h5
embed . -b EVIL -o x.h5
embed . -b npr -o EVIL/x.h5
embed . -b npr -o x.h5 --weights EVIL
embed . -b npr -o x.h5 --layout EVIL
list EVIL
list heads EVIL
weights EVIL
weights list EVIL
weights convert EVIL EVIL --unsafe-pickle
import EVIL -o x.h5
adapt x.h5 --head EVIL
adapt x.h5 --where EVIL
adapt x.h5 --shots EVIL
adapt x.h5 EVIL -EVIL
attribute x.h5 --fractions EVIL
demo --trials EVIL
"""


@pytest.mark.parametrize("command", COMMANDS.splitlines())
@pytest.mark.parametrize("as_json", [False, True])
def test_what_commands_print_of_such_a_store_is_inert(
    folder: Path, store: Path, report: Path, command: str, as_json: bool
) -> None:
    named = {"STORE": store, "REPORT": report, "IMAGE": next(folder.glob("cam*.png"))}

    result = run(*(named.get(part, part) for part in command.split()), *(["--json"] if as_json else []))

    assert result.exit_code == 0, result.stderr
    if as_json:
        json.loads(result.stdout)


@pytest.mark.filterwarnings("ignore:constrained_layout not applied:UserWarning")  # names too long to draw well
def test_what_is_written_beside_is_named_inertly(store: Path, report: Path) -> None:
    page, out, gallery, confusion = (store.with_name(f"{name}{EVIL}{end}") for name, end in BESIDE)
    for command in (
        ("report", report, "-o", page, "--store", store),
        ("export", store, "-o", out),
        ("nearest", store, "--query", store, "--gallery", gallery, "--confusion", confusion),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("command", MISTAKES.splitlines())
def test_an_error_about_such_a_word_is_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(*(part.replace("EVIL", EVIL) for part in command.split())).exit_code in (1, 2)


def test_the_page_holds_no_mark_of_direction_and_no_markup_of_a_name(tmp_path: Path) -> None:
    from fewshot.page.document import page_html
    from fewshot.results.report import Report
    from fewshot.results.row import Row

    name = f"<script>alert(1)</script>{EVIL}\udc80$x$"
    row = Row(name, name, "fixed", "svm", name, "all", "auroc", 4, 8, (0.5, 0.7), shots=2)
    made = page_html(
        {name: Report("fiser", {name: name}, (row,), warnings=(name,), provenance={"command": [name]})}, title=name
    )

    made.encode("utf-8")
    assert "<script>alert" not in made
    assert made.replace("\n", "").isprintable()


def test_a_store_by_another_hand_with_such_layers_is_described_inertly(tmp_path: Path) -> None:
    frame = pd.DataFrame({"key": ["a", f"b{EVIL}"], "source": ["cam", f"gen{EVIL}"], "synthetic": [False, True]})
    layer = LayerData(
        f"net{EVIL}", f"layer{EVIL}", np.zeros((2, 3), np.float32), default=True, provenance={"input": EVIL}
    )
    write_store(tmp_path / "s.h5", frame, [layer], roots=[EVIL])

    assert "net\\x1b" in run("inspect", tmp_path / "s.h5").stdout


def test_an_error_under_debug_and_a_warning_are_inert(tmp_path: Path) -> None:
    script = (
        f"import sys, warnings; from fewshot.cli import main\nsys.argv = ['fewshot', '--debug', 'inspect', {EVIL!r}]\n"
    )
    script += f"from fewshot.cli.streams import prepare_streams; prepare_streams(); warnings.warn({EVIL!r}); main()"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UserWarning: \\x1b]0;title" in done.stderr
    for line in done.stderr.split("\n"):
        assert line.isprintable()


def test_progress_on_a_terminal_is_inert(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    script = (
        "from fewshot.core.progress import Progress\n"
        f"with Progress(2, label={EVIL!r}, unit={EVIL!r}) as bar:\n"
        f"    bar.advance(note={EVIL!r}); bar.say({EVIL!r}); bar.advance()\n"
    )
    above, below = pty.openpty()
    done = subprocess.run([sys.executable, "-c", script], stderr=below, cwd=tmp_path, check=False)
    os.close(below)
    seen = b""
    while True:
        try:
            part = os.read(above, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(above)

    assert done.returncode == 0
    text = seen.decode().replace("\x1b[A", "")  # tqdm's own way up
    assert "\\x1b]0;title" in text
    assert text.replace("\r", "").replace("\n", "").isprintable()


PRINTING = {"click.echo", "click.secho", "click.style", "sys.stdout", "sys.stderr", "tqdm.write"}


def test_nothing_but_the_one_door_prints() -> None:
    found = []
    for path in sorted(ROOT.glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in PRINTING:
                found.append(str(path.relative_to(ROOT)))
            if isinstance(node, ast.Name) and node.id == "print":
                found.append(str(path.relative_to(ROOT)))

    assert set(found) <= {"cli/__init__.py", "cli/reporting.py", "cli/streams.py", "core/progress.py"}
