"""A stdout or stderr that is full, closed or cannot spell a name: one sentence, files first, no run that is lost."""

import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.results.report import Report

FAKES = Path(__file__).resolve().parents[1] / "embeddings" / "fakes.py"
PROGRAM = shlex.join([sys.executable, str(FAKES)])
STORE = Path(__file__).resolve().parents[1] / "golden" / "before_rooms" / "store.h5"
ROOT = Path(__file__).resolve().parents[2]


def shell(
    command: str, folder: Path, *, limit: int | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a shell command in which ``fewshot`` is the program with the fakes, within a limit of bytes per file."""

    def within() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    given = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(folder)}
    given |= environment or {}
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; fewshot() {{ {PROGRAM} "$@"; }}; {command}'],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        preexec_fn=within,
        check=False,
    )


def images(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names or ("natural/a", "synthetic/b")):
        for copy in range(4):
            path = folder / "images" / name / f"{copy}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([number, copy]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return folder / "images"


def one_sentence(stderr: str) -> str:
    """Return the only line of the program's own, and raise where there is a traceback."""
    assert "Traceback" not in stderr, stderr
    assert "Exception ignored" not in stderr, stderr
    said = [line for line in stderr.splitlines() if line.startswith("fewshot: ")]
    assert len(said) == 1, stderr
    return said[0]


UNWRITABLE = {"full": ("> /dev/full", "no space is left"), "closed": (">&-", "closed"), "cut": ("| true", "closed")}
ADAPT = f"fewshot adapt {STORE} --shots 2 --trials 2 -q"


@pytest.mark.slow
@pytest.mark.parametrize("way", UNWRITABLE)
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_report_is_saved_before_its_table_cannot_be_printed(tmp_path: Path, way: str, option: str) -> None:
    redirection, why = UNWRITABLE[way]

    done = shell(f"{ADAPT} -o r.json {option} {redirection}", tmp_path)

    assert done.returncode == 1, done.stderr
    assert f"the result could not be printed on the standard output: {why}" in one_sentence(done.stderr).replace(
        "it was ", ""
    )
    assert Report.load(tmp_path / "r.json").rows


@pytest.mark.slow
@pytest.mark.parametrize("way", UNWRITABLE)
def test_a_store_is_sealed_before_its_summary_cannot_be_printed(tmp_path: Path, way: str) -> None:
    images(tmp_path)

    done = shell(f"fewshot embed images -b mean-colour -o s.h5 --workers 0 -q {UNWRITABLE[way][0]}", tmp_path)

    assert done.returncode == 1, done.stderr
    one_sentence(done.stderr)
    assert len(FeatureStore(tmp_path / "s.h5")) == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["--help", "list heads", "list backbones --json", f"inspect {STORE}", f"inspect {STORE} --json", f"verify {STORE}"],
)
@pytest.mark.parametrize("way", ["full", "closed"])
def test_a_command_that_only_prints_fails_by_a_sentence(tmp_path: Path, command: str, way: str) -> None:
    done = shell(f"fewshot {command} {UNWRITABLE[way][0]}", tmp_path)

    if command == "--help" and way == "closed":
        assert "Traceback" not in done.stderr  # click says nothing where there is no stdout
        return
    assert done.returncode == 1, done.stderr
    one_sentence(done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-"])
def test_a_full_or_closed_stderr_loses_its_lines_and_nothing_else(tmp_path: Path, redirection: str) -> None:
    images(tmp_path)

    done = shell(f"fewshot embed images -b mean-colour -o s.h5 --workers 0 {redirection}", tmp_path)

    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "8 images in = 8 rows + 0 failures" in done.stdout
    assert shell(f"fewshot inspect none.h5 {redirection}", tmp_path).returncode == 1


LOCALES = (
    {"LANG": "C"},
    {"LC_ALL": "POSIX"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "latin-1:strict"},
)


@pytest.mark.slow
@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_names_that_the_locale_cannot_spell_lose_no_run(tmp_path: Path, locale: dict[str, str]) -> None:
    images(tmp_path, "natural/höhe", "synthetic/图像")
    commands: list[str] = [
        "fewshot embed images -b mean-colour -o größe.h5 --workers 0",
        "fewshot inspect größe.h5",
        "fewshot adapt größe.h5 --shots 1 --trials 2 -o überblick.json --keep-scores",
        "fewshot nearest größe.h5 images/natural/höhe/0.png --gallery bilder.html",
        "fewshot nearest größe.h5 --query größe.h5 --gallery bilder.png",
        "fewshot report überblick.json --store größe.h5 -o seite.html",
        "fewshot export größe.h5 -o größe",
    ]
    script = "import sys; from tests.embeddings import fakes; from fewshot.cli import main; fakes.register()\n"
    script += "for line in sys.argv[1:]:\n  sys.argv[1:] = line.split()[1:]\n"
    script += "  try: main()\n  except SystemExit as end: assert not end.code, line\n"
    base = dict.fromkeys(("LC_ALL", "LANG", "LC_CTYPE", "PYTHONIOENCODING"), "")

    done = shell(shlex.join([sys.executable, "-c", script, *commands]), tmp_path, environment={**base, **locale})

    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    with FeatureStore(tmp_path / "größe.h5") as store:
        assert store.sources == ("höhe", "图像")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (f"{ADAPT} -o r.json", "r.json"),
        (f"{ADAPT} -o r.json --keep-scores", "r.json"),
        ("fewshot report old.json -o page.html", "page.html"),
        (f"fewshot nearest {STORE} -b spectrum --query {STORE} --confusion c.png", "c.png"),
        (f"fewshot nearest {STORE} -b spectrum --query {STORE} --gallery g.html", "g.html"),
        (f"fewshot nearest {STORE} -b spectrum --query {STORE} --index-file i.faiss", "i.faiss"),
        (f"fewshot export {STORE} -o out", "out"),
        ("fewshot embed images -b mean-colour -o s.h5 --workers 0 -q", "s.h5"),
        ("fewshot weights convert w.pt w.safetensors --unsafe-pickle", "w.safetensors"),
        ("fewshot weights pack projection --weights projection=p.pth --name mine -o p.safetensors", "p.safetensors"),
        ("fewshot import a.pt -o s.h5", "s.h5"),
    ],
)
def test_a_limit_of_the_size_of_files_leaves_the_old_file_whole(tmp_path: Path, command: str, file: str) -> None:
    prepare(tmp_path)
    old = (tmp_path / file).read_bytes() if (tmp_path / file).exists() else None

    done = shell(command, tmp_path, limit=100)

    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "files may not grow so large here" in one_sentence(done.stderr), done.stderr
    assert ((tmp_path / file).read_bytes() if (tmp_path / file).exists() else None) == old
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def prepare(folder: Path) -> None:
    """Write what the limited commands read, and old files at some of the paths that they write."""
    import torch

    from fewshot.page.document import write_page

    report = Report("fiser", {}, ())
    for name in ("r.json", "old.json"):
        report.save(folder / name)
    write_page({"old": report}, folder / "page.html")
    images(folder)
    torch.save({"a": torch.zeros(200)}, folder / "w.pt")
    torch.save({"1.weight": torch.zeros(4, 192), "1.bias": torch.zeros(4)}, folder / "p.pth")
    content = {
        "embeddings": {"x": torch.eye(2)}, "ids": torch.arange(2), "labels": torch.tensor([0, 1]),
        "binary_labels": torch.tensor([0, 1]), "classes": ["cam", "gen"], "metadata": {"model_name": "net"},
    }  # fmt: skip
    torch.save(content, folder / "a.pt")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "convert w.pt none/w.safetensors --unsafe-pickle",
        "convert w.pt /proc/w.safetensors --unsafe-pickle",
        "pack projection --weights projection=p.pth --name mine -o none/p.safetensors",
    ],
)
def test_weights_for_a_folder_that_takes_none_fail_by_a_sentence(tmp_path: Path, command: str) -> None:
    prepare(tmp_path)

    done = shell(f"fewshot weights {command}", tmp_path)

    assert done.returncode == 1, done.stderr
    assert "cannot be written" in one_sentence(done.stderr)
