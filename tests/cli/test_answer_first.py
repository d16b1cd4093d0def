"""Commands that measure say their answer first, on one screen: within 100 columns, and the rest on request."""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fewshot.cli import group
from fewshot.cli.reporting import print_text, print_warnings
from fewshot.embeddings.store.writer import LayerData
from fewshot.results.report import Report
from tests.protocols.toy_store import toy_layer, toy_logit, toy_samples, toy_store

LONG = f"torchvision:{'a-very-long-name-' * 6}of-a-backbone"
CURVE = ("--fractions", "50%,100%", "--trials", 2, "--steps", 5, "--widths", 8, "--latent", 2)
PROBE = ("--reference", "linear-probe")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stores by command; names in them are as long as names get."""
    folder, frame = tmp_path_factory.mktemp("stores"), toy_samples()
    plain = [toy_layer(frame, name, "late", signal=1.0, default=True) for name in ("net", LONG, f"{LONG}-2")]
    plain.append(toy_logit(frame, "net", signal=0.5))
    views = [
        toy_layer(frame, "net", "late", signal=signal, view=view) for signal, view in ((1.0, "clean"), (0.3, "blur:4"))
    ]
    return {
        "adapt": toy_store(folder / "toy.h5", layers=_by_number(plain)),
        "attribute": toy_store(folder / "toy.h5"),
        "robustness": toy_store(folder / "views.h5", layers=_by_number(views)),
    }


def _by_number(layers: list[LayerData]) -> dict[str, LayerData]:
    return {str(number): layer for number, layer in enumerate(layers)}


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)))


def _options(command: str) -> list[Any]:
    return ["-b", "net", *CURVE, *PROBE] if command == "attribute" else ["--trials", 10, "--shots", 5]


@pytest.fixture(scope="module")
def reports(stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Result]]:
    """What every command saved and printed."""
    folder, made = tmp_path_factory.mktemp("reports"), {}
    for command, store in stores.items():
        out = folder / f"{command}.json"
        printed = _run(command, store, "-q", "-o", out, *_options(command))
        assert printed.exit_code == 0, printed.output
        made[command] = (out, printed)
    return made


def _require_narrow(text: str) -> None:
    for line in text.splitlines():
        assert len(line) <= 100, line


@pytest.mark.parametrize(
    ("command", "columns"),
    [
        ("adapt", "backbone head shots AUROC 5-95 % mean 95 % interval n"),
        ("attribute", "backbone head share AUROC range mean 95 % interval accuracy n"),
        ("robustness", "backbone head shots view AUROC 5-95 % mean 95 % interval lost flips n"),
    ],
)
def test_the_answer_comes_first_and_all_of_it_fits_100_columns(
    reports: dict[str, tuple[Path, Result]], command: str, columns: str
) -> None:
    path, printed = reports[command]
    sentence, table, hint = printed.stdout.strip().split("\n\n")
    assert " ".join(sentence.split()).count("AUROC") == 1
    assert " ".join(table.split("\n")[0].split()) == columns
    assert "--full shows" in hint
    assert "-o REPORT.json" not in hint  # it was given
    _require_narrow(table)
    _require_narrow(printed.stderr)
    compared = _run("compare", path)
    if compared.exit_code == 0:
        _require_narrow(compared.stdout.split("\n\n", 1)[1])
        _require_narrow(compared.stderr)


def test_full_and_paper_show_what_the_answer_leaves_out(stores: dict[str, Path]) -> None:
    brief = [stores["adapt"], "-q", "-b", "net", *_options("adapt")]
    plain, full, paper = (_run("adapt", *brief, *more).stdout for more in ([], ["--full"], ["--paper"]))
    for text, there in (
        (plain, []),
        (full, ["sd15", "TPR@5%FPR"]),
        (paper, ["reading (a)", "twelve detectors", "gain"]),
    ):
        assert [
            word for word in ("sd15", "TPR@5%FPR", "reading (a)", "twelve detectors", "gain") if word in text
        ] == there
        assert text.startswith("net + svm, 5 shots: AUROC ")
    assert "-o REPORT.json keeps the report" in " ".join(plain.split())
    assert "next best the pretrained head of net, 0." in " ".join(plain.split())
    assert "sd15" in _run("robustness", stores["robustness"], "-q", *_options("robustness"), "--full").stdout
    curve = _run("attribute", stores["attribute"], "-q", *_options("attribute"), "--full").stdout
    assert "Real (ProGAN set) (printed)" in curve


@pytest.mark.parametrize("command", ["adapt", "attribute", "robustness"])
def test_scores_beside_no_report_are_refused_before_the_store_is_opened(tmp_path: Path, command: str) -> None:
    refused = _run(command, tmp_path / "none.h5", "--keep-scores")
    assert refused.exit_code == 1
    assert refused.stderr == "fewshot: --keep-scores saves beside the report, and there is none; give -o REPORT.json\n"


def test_scores_beside_no_report_are_refused_before_anything_large_is_loaded(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom fewshot.cli import main\n"
        f"try:\n    main(['adapt', {str(tmp_path / 's.h5')!r}, '--keep-scores'])\nexcept SystemExit: pass\n"
        "print(*{'sklearn', 'h5py', 'torch', 'fewshot.embeddings.store.reader'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
    assert "--keep-scores" in done.stderr


def test_a_reader_that_hangs_up_leaves_the_whole_report(stores: dict[str, Path], tmp_path: Path) -> None:
    out, (reading, writing) = tmp_path / "r.json", os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fewshot", "adapt", str(stores["adapt"]), "-q", "-o", str(out), "--trials", "2"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == 1
    assert b"could not be printed on the standard output" in done.stderr
    assert len(Report.load(out).rows) > 0


def _on_a_terminal(command: list[str], **environment: str) -> str:
    """Return what a command prints on a terminal of 80 columns."""
    pty = pytest.importorskip("pty")
    above, below = pty.openpty()
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "fewshot", *command],
        stdout=below,
        stderr=below,
        env=known | {"COLUMNS": "80", "TERM": "xterm", **environment},
    )
    os.close(below)
    seen = b""
    while True:
        try:
            part = os.read(above, 65536)
        except OSError:  # the other side was closed
            break
        if not part:
            break
        seen += part
    os.close(above)
    assert process.wait() == 0
    return seen.decode().replace("\r\n", "\n")


def test_on_a_terminal_the_best_line_is_bold_and_warnings_are_coloured(tmp_path: Path) -> None:
    evil = "net\x1b[2J\x1b]0;title\x07"
    frame = toy_samples()
    layers = _by_number([toy_layer(frame, name, "late", signal=1.0, default=True) for name in (evil, "weak")])
    store = toy_store(tmp_path / "evil.h5", layers=layers)
    shown = _on_a_terminal(["adapt", str(store), "-q", "--trials", "2", "--shots", "2"])
    (bold,) = [line for line in shown.split("\n") if line.startswith("\x1b[1m")]
    assert "svm" in bold
    assert re.search(r"\x1b\[33mwarning: [^\x1b]*\x1b\[0m", shown)
    lines = re.sub(r"\x1b\[(1|33|0)m", "", shown).split("\n")
    assert all(line.isprintable() for line in lines)  # of the name, nothing but its escapes arrived
    assert max(map(len, lines)) <= 80


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "styled"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_no_color_of_any_value_and_a_dumb_terminal_turn_styles_off(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], styled: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out, notes = _Terminal(), _Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", notes)
    print_text("first\nbest\x1b[2J\nlast", bold={1})
    print_warnings(["careful\x1b[2J"])
    best, warning = "best\\x1b[2J", "warning: careful\\x1b[2J"
    assert out.getvalue() == (f"first\n\x1b[1m{best}\x1b[0m\nlast\n" if styled else f"first\n{best}\nlast\n")
    assert notes.getvalue() == (f"\x1b[33m{warning}\x1b[0m\n" if styled else f"{warning}\n")


def test_what_is_piped_holds_no_style(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("best", bold={0})
    assert capsys.readouterr().out == "best\n"


def test_real_images_are_answered_within_100_columns(shared: Path, tmp_path: Path) -> None:
    for kind in ("natural/imagenet", "natural/bsds500", "synthetic/sd3", "synthetic/ldm"):
        folder = tmp_path / "images" / kind
        folder.mkdir(parents=True)
        for image in sorted((shared / "data" / "native" / kind).iterdir())[:8]:
            (folder / image.name).symlink_to(image)
    store, out = tmp_path / "real.h5", tmp_path / "r.json"
    views = ["--view", "clean,jpeg:50"]
    made = _run("embed", tmp_path / "images", "-b", "spectrum", "-o", store, *views, "--workers", 0, "-q")
    assert made.exit_code == 0, made.output
    for command in (
        ["adapt", store, "--shots", "1,5", "--head", "svm,logistic", "--trials", 10, "-o", out],
        ["robustness", store, "--shots", 5, "--trials", 3],
        ["attribute", store, *CURVE, *PROBE],
        ["compare", out],
        ["compare", out, "--all"],
        ["compare", out, out],
    ):
        printed = _run(*command, *([] if command[0] == "compare" else ["-q"]))
        assert printed.exit_code == 0, printed.output
        _require_narrow(printed.stdout)
        _require_narrow(printed.stderr)
