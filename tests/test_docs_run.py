"""The README, the quickstart and every how-to page do what they say: their commands and Python are run, in order.

A block that cannot be run here stands under a comment ``<!-- not run: WHY -->``; its commands are still parsed.
"""

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import click
import pytest
import timm
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

import fewshot
from fewshot.cli import group
from fewshot.demo.deployed import deployed
from fewshot.demo.images import write_images
from fewshot.demo.story import BACKBONES
from fewshot.embeddings.networks.trunks import ShortResNet

ROOT = Path(__file__).resolve().parent.parent
RUN = [ROOT / "README.md", ROOT / "docs/quickstart.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"(?P<mark><!-- not run: [^>]+ -->\n)?^ *```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.M | re.S)
OUTPUTS = ("-o", "--out", "--gallery", "--confusion", "--index-file")


def blocks(page: Path, *languages: str, marked: bool | None = None) -> Iterator[tuple[str, str]]:
    """Yield (language, text) of the fenced blocks; ``marked`` keeps only those that are (not) said to be not run."""
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found["language"] in languages and marked in (None, bool(found["mark"])):
            yield found["language"], found["text"]


def commands(text: str) -> list[list[str]]:
    """Return the words of every ``fewshot`` line, without the first; other lines must be ones that prove nothing."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    return [shlex.split(re.sub(r"\s&$", "", line), comments=True)[1:] for line in lines if _is_ours(line)]


def _is_ours(line: str) -> bool:
    return bool(re.match(r"(\.venv/bin/)?fewshot\s", line))


def expanded(words: list[str]) -> list[str]:
    """Return a line of a shell loop as its first turn has it."""
    return [re.sub(r"\$\(\(.*?\)\)", "0", word).replace("$i", "1") for word in words]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``fewshot demo`` has embedded one tile of every photograph and fitted a detector."""
    folder = tmp_path_factory.mktemp("demo")
    write_images(folder / "images", most=1)
    store = fewshot.embed(folder / "images", backbones=BACKBONES, out=folder / "images.h5", workers=0)
    deployed(store, folder / "demo.detector", seed=0)
    return folder


@pytest.fixture
def place(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The reader's folder: what a page says is there, and what its own commands make is not."""
    page: Path = request.param
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(demo)
    shutil.copy(demo / "images/spectral/astronaut-00.png", tmp_path / "some-image.png")
    with Image.open(tmp_path / "some-image.png") as image:
        image.crop((3, 3, 203, 203)).save(tmp_path / "suspicious.png")
    makes_its_store = "fewshot embed" in "".join(text for _, text in blocks(page, "sh", marked=False))
    if not makes_its_store:
        shutil.copy(demo / "images.h5", tmp_path / "images.h5")
    few = None if page.stem in ("add-my-generator", "choose-a-backbone") else 2
    for source, target in (("natural", "0_real/my-camera"), ("spectral", "1_fake/my-generator")):
        (tmp_path / "images" / target).mkdir(parents=True)
        for file in sorted((demo / "images" / source).glob("*.png"))[:few]:
            shutil.copy(file, tmp_path / "images" / target / file.name)
    _write_weights(page.stem, tmp_path)
    if page.stem in ("README", "ten-images-to-a-detector"):
        _write_afternoon(demo / "images", tmp_path)
    return tmp_path


def _write_afternoon(images: Path, folder: Path) -> None:
    """Write a support, naturals, an inbox, a frozen set and labels: crops of the demo's tiles, no two of one place."""
    natural, synthetic = (sorted((images / name).glob("*.png")) for name in ("natural", "transposed-convolution"))
    _write_crops(natural[:5], folder / "support/natural/my-camera", 2)
    _write_crops(synthetic[:5], folder / "support/synthetic/new-generator", 2)
    _write_crops(natural[5:11], folder / "my-naturals", 12)
    _write_crops([*natural[11:14], *synthetic[11:14]], folder / "inbox", 5)
    _write_crops(natural[14:], folder / "frozen/natural/my-camera", 4)
    _write_crops(synthetic[14:], folder / "frozen/synthetic/new-generator", 4)
    (folder / "labelled.csv").write_text("path,label\ninbox/0-0.png,natural\ninbox/3-0.png,synthetic\ninbox/4-1.png,\n")


def _write_crops(tiles: Sequence[Path], folder: Path, each: int) -> None:
    folder.mkdir(parents=True)
    for number, tile in enumerate(tiles):
        with Image.open(tile) as image:
            for place in range(each):
                left, top = 4 * (place % 4), 8 * (place // 4)
                image.crop((left, top, left + 160, top + 160)).save(folder / f"{number}-{place}.png")


def _write_weights(page: str, folder: Path) -> None:
    if page == "use-my-own-weights":
        (folder / "checkpoints").mkdir()
        torch.save(ShortResNet(outputs=1).state_dict(), folder / "checkpoints/my-npr.pth")
        (folder / "weights").mkdir()
        shutil.copy(folder / "checkpoints/my-npr.pth", folder / "weights/NPR.pth")
    if page == "add-a-backbone":
        save_file(timm.create_model("resnet18").state_dict(), folder / "weights.safetensors")


@pytest.mark.parametrize(
    ("place", "page"), [(page, page) for page in RUN], indirect=["place"], ids=[page.stem for page in RUN]
)
def test_page_does_what_it_says(page: Path, place: Path) -> None:
    for language, text in blocks(page, "python", "sh", marked=False):
        if language == "python":
            exec(compile(text, page.name, "exec"), {})
        for words in commands(text) if language == "sh" else []:
            in_this_process = ["--workers", "0"] if words[0] == "embed" else []
            done = CliRunner().invoke(group, [*words, *in_this_process])
            assert done.exit_code == 0, f"{page.name}: fewshot {shlex.join(words)}\n{done.output}"
            made = [name for option, name in pairwise(words) if option in OUTPUTS]
            assert [name for name in made if not (place / name).exists()] == []


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_line_that_is_run_is_a_command_of_ours_or_a_make_target(page: Path) -> None:
    for _, text in blocks(page, "sh", marked=False):
        lines = [line.split("#")[0].strip() for line in text.replace("\\\n", " ").splitlines()]
        assert [line for line in lines if line and not _is_ours(line) and not line.startswith("make ")] == []


def _parsed(words: list[str]) -> None:
    """Parse as the command line does; a wrong option, choice or number is an error."""
    context = group.make_context("fewshot", words)
    while isinstance(context.command, click.Group):
        left = [*context._protected_args, *context.args]
        name, command, arguments = context.command.resolve_command(context, left)
        assert command is not None, name
        context = command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_page_can_be_parsed(page: Path) -> None:
    for _, text in blocks(page, "sh", "console"):
        for words in commands(text):
            if not set(words) & {"-h", "--help", "--version"}:
                _parsed(expanded(words))


def test_a_page_with_a_wrong_value_does_not_parse() -> None:
    with pytest.raises(click.UsageError, match="'oracles' is not one of"):
        _parsed(["adapt", "images.h5", "--draw", "oracles"])
    with pytest.raises(click.UsageError, match="No such option"):
        _parsed(["weights", "fetch", "npr", "--from-anywhere"])


INLINE = re.compile(r"`fewshot ([^`]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_named_in_the_text_of_page_exist(page: Path) -> None:
    for said in INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        words = said.split()
        if words[0].startswith("-"):
            assert words[0] in {"--help", "--version", "--debug"}, said
            continue
        context = click.Context(group)
        for name in words[0].split("|"):
            command = group.get_command(context, name)
            assert command is not None, f"{page.name}: {said}"
            options = _options(command)
            given = {word.split("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)}
            assert given <= options, f"{page.name}: {said}"


def _options(command: click.Command) -> set[str]:
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    subcommands = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*(_options(one) for one in subcommands), {"-h", "--help"})


def test_every_row_of_the_table_of_peers_names_a_test_that_exists() -> None:
    page = ROOT / "docs/beside-others.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and "**yes**" in line]
    assert len(rows) >= 10
    for row in rows:
        (named,) = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", row)
        assert f"def {named[1]}(" in (ROOT / named[0]).read_text(encoding="utf-8"), row
