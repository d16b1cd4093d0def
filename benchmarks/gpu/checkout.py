"""Make a plain checkout importable without installing it, and add what a machine lacks from a folder of wheels.

Needs the standard library alone: it runs before anything of ours can be imported.
"""

import configparser
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MAPPED = ("embeddings", "protocols")  # docs/decisions/0001-package-mapping.md


def importable(site: Path, *, wheels: Path | None) -> dict[str, str]:
    """Fill the folder ``site`` and return the environment in which Python finds the project through it.

    Args:
        site: an empty folder.
        wheels: a folder of wheels that are unpacked there without asking any index; None for none.

    Raises:
        SystemExit: the wheels cannot be installed.
    """
    if wheels is not None:
        _unpack(site, wheels)
    _link_packages(site / "fewshot")
    _write_entry_points(site / "fewshot-0.dist-info")
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _unpack(site: Path, wheels: Path) -> None:
    found = sorted(str(wheel) for wheel in wheels.glob("*.whl"))
    if not found:
        raise SystemExit(f"WHEELS={wheels} holds no wheel; fill it by benchmarks/gpu_wheels.sh {wheels}")
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site), *found]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"the wheels of {wheels} cannot be installed; make it anew by benchmarks/gpu_wheels.sh")


def _link_packages(package: Path) -> None:
    """Lay out the package as setup.cfg maps it: the folders at the root are packages inside ``fewshot``."""
    package.mkdir()
    for child in (ROOT / "fewshot").iterdir():
        if child.name not in _MAPPED and child.name != "__pycache__":
            (package / child.name).symlink_to(child)
    for name in _MAPPED:
        (package / name).symlink_to(ROOT / name)


def _write_entry_points(folder: Path) -> None:
    """Write the metadata by which plug-ins are found: name, version, and the entry points of setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    groups = dict(config["options.entry_points"])
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fewshot\nVersion: 0\n", encoding="utf-8")
    text = "".join(f"[{group}]\n{lines.strip()}\n\n" for group, lines in groups.items())
    (folder / "entry_points.txt").write_text(text, encoding="utf-8")
