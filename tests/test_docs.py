"""Every example in the documents runs, and every command, option, target, link and file that they name is there."""

import ast
import dataclasses
import doctest
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import fewshot
from fewshot.cli import group
from fewshot.demo.photographs import PHOTOGRAPHS
from fewshot.embeddings.store.schema import COLUMNS
from fewshot.results.row import Row

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MODULE_FOLDERS = {"fewshot": "fewshot", "embeddings": "fewshot.embeddings", "protocols": "fewshot.protocols"}
COLUMN = re.compile(r"`([a-z_0-9]+)`")
CITED_PAGE = re.compile(r"(?<![\w./-])[\w./-]*\w\.md\b")
NUMBERED_SECTION = re.compile(r"\.md,? (?:section )?\d")
STARTS_A_COMMAND = re.compile(r"^(?:\$ )?fewshot(?=\s|$)")


def modules() -> list[str]:
    """Return the import name of every module of ours, except the one that runs the command line."""
    names = []
    for folder, package in MODULE_FOLDERS.items():
        for directory, _, files in os.walk(ROOT / folder):
            inside = ".".join((package, *Path(directory).relative_to(ROOT / folder).parts))
            names += [f"{inside}.{name[:-3]}" for name in files if name.endswith(".py") and name != "__main__.py"]
    return sorted(name.removesuffix(".__init__") for name in names)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Return every `fewshot ...` command line of a page's shell blocks, split into words, without ``fewshot``."""
    found = []
    for block in [*blocks(page, "sh"), *blocks(page, "console")]:
        for line in block.replace("\\\n", " ").splitlines():
            if STARTS_A_COMMAND.match(line.strip()):
                words = shlex.split(line.strip().removeprefix("$ "), comments=True)
                found.append(words[1:])
    return found


@pytest.mark.parametrize("module", modules())
def test_doctests_of_module(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_on_page_exist(page: Path) -> None:
    for words in commands(page):
        name = next((word for word in words if not word.startswith("-")), None)
        of_group = {option for parameter in group.params for option in parameter.opts} | {"-h", "--help"}
        if name is None:
            assert set(words) <= of_group, words
            continue
        command = group.get_command(click.Context(group), name)
        assert command is not None, f"{page.name}: there is no command {name!r}"
        if isinstance(command, click.Group) and words[1:2] and words[1] in command.commands:
            command = command.commands[words[1]]
        elif name == "nearest":  # whose first command may be left out
            assert isinstance(command, click.Group)
            command = command.commands["lookup"]
        known = of_group | {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.split("=", 1)[0] for word in words if re.match(r"--?[A-Za-z]", word)}
        assert given <= known, f"{page.name}: {name} has no option {given - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_on_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", page.read_text(encoding="utf-8")))
    for block in blocks(page, "sh"):
        named |= set(re.findall(r"^make ([a-z-]+)", block, re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_of_page_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    relative = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in relative if not (page.parent / link).exists()] == []


def texts() -> list[Path]:
    """Return every Python file and page of the checkout."""
    folders = [*MODULE_FOLDERS, "tests", "benchmarks", "docs", "notebooks"]
    found = [
        Path(directory) / name for folder in folders for directory, _, names in os.walk(ROOT / folder) for name in names
    ]
    return [path for path in (*ROOT.glob("*.md"), *found) if path.suffix in {".md", ".py"}]


def test_no_file_cites_a_page_that_is_not_in_the_repository() -> None:
    """A citation names the paper and the authors' file; our own pages exist, and their sections have no numbers."""
    homes = [ROOT, *(ROOT / name for name in ("docs", "docs/reference", "docs/experiments"))]
    missing = []
    for path in texts():
        text = path.read_text("utf-8")
        names = {name for name in CITED_PAGE.findall(text) if not name.startswith("//")}
        missing += [
            (path.relative_to(ROOT), name)
            for name in names
            if not any((home / name).exists() for home in (path.parent, *homes))
        ]
        assert not NUMBERED_SECTION.search(text), path
    assert missing == []


def test_every_command_has_help_that_is_a_sentence() -> None:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert (command.help or "").strip().split("\n\n")[0].endswith("."), name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{name} {parameter.opts[0]} has no help"


def test_every_store_column_is_documented() -> None:
    page = (ROOT / "docs/reference/store.md").read_text("utf-8")
    section = page[page.index("## `/samples") : page.index("`/samples/extra")]
    documented = {
        name for line in section.splitlines() if line.startswith("| `") for name in COLUMN.findall(line.split("|")[1])
    }
    assert documented == set(COLUMNS)


def test_every_row_field_is_documented() -> None:
    page = (ROOT / "docs/reference/report.md").read_text("utf-8")
    named = set(COLUMN.findall(page))
    assert {item.name for item in dataclasses.fields(Row)} <= named


def test_every_photograph_of_the_demo_is_credited() -> None:
    page = (ROOT / "THIRD_PARTY.md").read_text("utf-8")
    assert [photograph.name for photograph in PHOTOGRAPHS if photograph.name not in page] == []


def test_layers_of_the_architecture_are_those_that_are_checked() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## Who may import whom")[1].split("\n## ")[0]
    told = [block.strip().splitlines() for block in page.split("```")[1::2]]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert told == [[layer.replace("(", "").replace(")", "") for layer in layers] for layers in checked]


def tracked_sources() -> list[str]:
    """Every Python file of the three folders, by its path from the root."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *MODULE_FOLDERS]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in names if name.endswith(".py") and (ROOT / name).is_file())


def test_the_architecture_lists_every_file_with_a_phrase() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## The rooms")[1].split("\n## ")[0]
    rooms = {room.partition("/`")[0]: room for room in page.split("### `")[1:]}
    listed = {
        f"{folder}/{name}": phrase.strip()
        for folder, room in rooms.items()
        for name, phrase in re.findall(r"^\| `([^`]+)` \| (.*) \|$", room, re.MULTILINE)
    }
    files = tracked_sources()
    assert sorted(listed) == [name for name in files if not name.endswith("/__init__.py")]
    assert sorted(rooms) == sorted(name.removesuffix("/__init__.py") for name in files if name.endswith("/__init__.py"))
    assert [name for name, phrase in listed.items() if len(phrase) < 5] == []


def test_every_folder_says_what_it_is_for_and_what_it_may_import() -> None:
    told = re.compile(r"May import|imports nothing of ours|The public names")
    silent = [
        name
        for name in tracked_sources()
        if name.endswith("/__init__.py")
        and not told.search(ast.get_docstring(ast.parse((ROOT / name).read_text("utf-8"))) or "")
    ]
    assert silent == []


def test_version_of_citation_and_changelog_is_that_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {fewshot.__version__}\n" in citation
    assert re.search(r"^## \[Unreleased\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_is_stripped_and_speaks_public_names_only(notebook: Path) -> None:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert "**Question.**" in "".join(cells[0]["source"])
    assert "**Conclusion.**" in "".join(cells[-1]["source"])
    text = "\n".join("".join(cell["source"]) for cell in code)
    assert not re.search(r"\._[a-z]", text), "a private name"
    assert not re.search(r"^\s*(?:from|import) .*\b_[a-z]", text, re.MULTILINE), "a private module"


def _messages() -> str:
    """Return the constant text of our modules, joined: what a message can be made of."""
    texts = []
    for folder in MODULE_FOLDERS:
        for directory, _, files in os.walk(ROOT / folder):
            for name in files:
                if name.endswith(".py"):
                    for node in ast.walk(ast.parse((Path(directory) / name).read_text("utf-8"))):
                        if isinstance(node, ast.Constant) and isinstance(node.value, str):
                            texts.append(node.value)
    return "\n".join(texts)


def test_every_message_of_troubleshooting_is_one_of_ours() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    headings = re.findall(r"^### (.+)$", page, re.MULTILINE)
    messages = _messages()
    assert headings
    assert [part for heading in headings for part in heading.split(" … ") if part not in messages] == []


def test_command_line_page_equals_the_help_texts() -> None:
    """Ask a process of its own: click remembers the help options of whichever context used a command first."""
    code = "import runpy, sys; sys.stdout.write(runpy.run_path('docs/generate.py')['command_line']())"
    made = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    assert page == made.stdout, "the page is old; run `python docs/generate.py`"
