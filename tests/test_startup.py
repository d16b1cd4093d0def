"""Which large packages each command loads: a list, a look or a help text must start at once.

``benchmarks/startup.py`` measures how long it takes; here only what is loaded counts, which no busy machine changes.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.results.report import Report

LARGE = {
    "faiss",
    "fastapi",
    "huggingface_hub",
    "jinja2",
    "matplotlib",
    "open_clip",
    "pandas",
    "pyarrow",
    "requests",
    "scipy",
    "sklearn",
    "timm",
    "torch",
    "torchvision",
    "transformers",
    "uvicorn",
}
# What ``import sklearn`` loads where all of these are installed.
SKLEARN = {"sklearn", "scipy", "pandas", "pyarrow"}

SCRIPT = """
import sys
from fewshot.cli import main

for arguments in ARGUMENTS:
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)
    print("LOADED", *sorted(set(sys.modules) & LARGE))
"""


def loaded(*commands: list[str]) -> list[set[str]]:
    """Return which large packages a fresh interpreter has loaded after each of some commands, run one after another."""
    script = SCRIPT.replace("ARGUMENTS", repr(list(commands))).replace("LARGE", repr(LARGE))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("LOADED")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 80 images with file metadata, and a report."""
    folder = tmp_path_factory.mktemp("startup")
    generator = np.random.default_rng(0)
    synthetic = np.arange(80) % 2 == 1
    samples = pd.DataFrame(
        {
            "key": [f"{number}.png" for number in range(80)],
            "id": [f"{number:064x}" for number in range(80)],
            "phash": generator.integers(1, 1 << 63, 80),
            "source": np.where(synthetic, "gan", "camera"),
            "synthetic": synthetic,
            "format": np.where(synthetic, "PNG", "JPEG"),
            "width": 64,
            "height": 64,
        }
    )
    features = generator.normal(size=(80, 64)).astype(np.float32)
    provenance = {"weights": {}, "input": "native > [0, 1]"}
    layers = [LayerData("net", "pooled", features, default=True, provenance=provenance)]
    write_store(folder / "a.h5", samples, layers)
    Report("fiser", {}, (), supports={"0": ["0.png"]}).save(folder / "r.json")
    return folder


def test_no_help_text_loads_a_large_package() -> None:
    from click import Context, Group

    from fewshot.cli import group

    context = Context(group)
    commands: list[list[str]] = [["--help"]]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        commands.append([name, "--help"])
        if isinstance(command, Group):
            commands += [[name, sub, "--help"] for sub in command.list_commands(Context(command))]

    assert len(commands) > 15
    assert dict(zip(map(" ".join, commands), loaded(*commands), strict=True)) == {" ".join(c): set() for c in commands}


# STORE, REPORT and NEW are files of the fixture's folder.
LIGHT = [
    "completion bash",
    "list backbones",
    "list engines",
    "list heads",
    "list layouts",
    "list protocols",
    "list views",
    "weights list",
    "inspect STORE",
    "inspect --json STORE",
    "inspect REPORT",
    "verify STORE",
]
# Command -> the large packages that it may load.
HEAVIER = {
    "export STORE -o NEW": {"pandas", "pyarrow"},
    "audit STORE": SKLEARN,
    "audit STORE -b net": SKLEARN | {"faiss"},
    "adapt STORE --shots 5 --trials 3 --head svm": SKLEARN | {"torch"},  # the batched solver's
    "nearest STORE --query STORE --per-source 2": SKLEARN | {"faiss"},
    "report REPORT -o NEW": {"jinja2", "matplotlib", "scipy"},
}


def arguments_of(command: str, folder: Path, *, new: Path = Path()) -> list[str]:
    files = {"STORE": folder / "a.h5", "REPORT": folder / "r.json", "NEW": new}
    return [str(files.get(word, word)) for word in command.split()]


def test_lists_and_looks_load_no_large_package(folder: Path) -> None:
    found = loaded(*(arguments_of(command, folder) for command in LIGHT))

    assert dict(zip(LIGHT, found, strict=True)) == {command: set() for command in LIGHT}


@pytest.mark.parametrize("command", HEAVIER)
def test_a_command_loads_only_the_large_packages_that_it_needs(command: str, folder: Path, tmp_path: Path) -> None:
    (found,) = loaded(arguments_of(command, folder, new=tmp_path / "new"))

    assert found <= HEAVIER[command]


def test_importing_the_package_loads_no_large_package() -> None:
    code = f"import sys, fewshot; print(sorted(set(sys.modules) & {LARGE!r}))"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
