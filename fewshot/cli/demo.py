"""``fewshot demo``: the whole story on images made on the spot."""

import shutil
import sys
from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option, out_option, quiet_option, seed_option
from fewshot.cli.reporting import StandardOutputError, print_json, print_note, print_text


@click.command(
    cls=Command,
    short_help="The whole story on images made on the spot.",
    examples=("fewshot demo", "fewshot demo --trials 20 -o my-demo"),
)
@out_option(
    metavar="FOLDER", default=Path("demo"), text="Folder for images, features, report, picture, page and detector."
)
@click.option(
    "--trials",
    type=click.IntRange(min=2),
    default=50,
    show_default=True,
    metavar="N",
    help="Random draws of the support.",
)
@click.option(
    "--tiles",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Tiles per photograph, at most.",
)
@seed_option
@quiet_option
@json_option
def command(out: Path, trials: int, tiles: int, seed: int, quiet: bool, as_json: bool) -> None:
    """Tell the whole story on images made on the spot: few shots, nearest sources, audit, a page, a detector.

    Nothing is downloaded: the photographs come with scikit-image and scikit-learn, the fakes are made from them.
    """
    from fewshot.demo.few_shots import NEW
    from fewshot.demo.story import run_demo

    said = _Said(on_stderr=as_json)
    story = run_demo(
        out,
        seed=seed,
        trials=trials,
        most=tiles,
        quiet=quiet,
        say=said,
        program=_program(),
    )
    if as_json:
        made = {"store": str(story.store.path), "picture": str(story.picture), "page": str(story.page)}
        made["detector"] = str(story.deployed.detector.path)
        accuracy = {backbone: found.accuracy for backbone, found in story.nearest.items()}
        summary = story.few_shots.after[NEW].summary_entries()
        verdicts = story.deployed.counts
        print_json({**made, "summary": summary, "nearest_accuracy": accuracy, "verdicts": verdicts}, indent=1)
    said.require_printed()


class _Said:
    """Prints paragraphs as they come; one that cannot be printed does not keep the rest from being made."""

    def __init__(self, *, on_stderr: bool) -> None:
        self.on_stderr = on_stderr
        self.error: StandardOutputError | None = None

    def __call__(self, part: str) -> None:
        """Print a paragraph, and an empty line behind it."""
        if self.on_stderr:
            for line in (*part.split("\n"), ""):
                print_note(line)
        elif self.error is None:
            try:
                print_text(f"{part}\n")
            except StandardOutputError as error:
                self.error = error

    def require_printed(self) -> None:
        """Raise what kept a paragraph from being printed."""
        if self.error is not None:
            raise self.error


def _program() -> str:
    """Return what to type for this command: its path where it was called by one and is not found without."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "fewshot" and not shutil.which("fewshot") else "fewshot"
