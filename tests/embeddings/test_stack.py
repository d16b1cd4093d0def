"""``fewshot --version`` names every device and library, also when one of them is broken."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import faiss
import torch
from click.testing import CliRunner

import fewshot
from fewshot.cli import group

LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "scikit-learn", "numpy", "h5py")


def described(text: str) -> dict[str, str]:
    """Return name -> description of the indented lines."""
    return dict(re.findall(r"^  (\S+) +(.+)$", text, re.MULTILINE))


def test_version_names_fewshot_first_then_every_library_as_installed() -> None:
    done = CliRunner().invoke(group, ["--version"])

    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == f"fewshot {fewshot.__version__}"
    said = described(done.stdout)
    assert {name: said.get(name) for name in LIBRARIES} == {name: version(name) for name in LIBRARIES}
    assert said["python"].startswith(".".join(map(str, sys.version_info[:3])))


def test_version_names_the_devices_and_the_build_of_faiss() -> None:
    said = described(CliRunner().invoke(group, ["--version"]).stdout)

    if torch.cuda.is_available():
        assert said["cuda:0"] == torch.cuda.get_device_name(0)
    else:
        assert said["cuda"] == "none that torch can use"
    assert re.fullmatch(r".+, \d+ cores?", said["cpu"])
    assert said["faiss"].startswith(f"{faiss.__version__} (")
    assert set(faiss.get_compile_options().split()) <= set(re.findall(r"\w+", said["faiss"]))


def test_version_tells_why_a_library_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.99: cannot open shared object file')\n")
    (tmp_path / "faiss.py").write_text("raise ImportError('no swigfaiss')\n")
    code = "from fewshot.cli import main; main(['--version'])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    said = described(done.stdout)
    assert said["cuda"] == "unknown: torch cannot be loaded (libcudart.so.99: cannot open shared object file)"
    assert said["faiss"] == "cannot be loaded (no swigfaiss)"
    assert said["numpy"] == version("numpy")
