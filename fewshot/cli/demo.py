"""``fewshot demo``: the whole story on images made on the spot."""

import json
import shutil
import sys
from pathlib import Path

import click

from fewshot.cli.options import json_option, quiet_option, seed_option


@click.command()
@click.option(
    "--output",
    "-o",
    "out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for images, features, report, picture and page.",
)
@click.option("--trials", type=click.IntRange(min=2), default=100, show_default=True, help="Draws of the support.")
@click.option(
    "--tiles", type=click.IntRange(min=1), default=8, show_default=True, help="Tiles per photograph, at most."
)
@seed_option
@quiet_option
@json_option
def command(out: Path, trials: int, tiles: int, seed: int, quiet: bool, as_json: bool) -> None:
    """Run everything on images made on the spot: embed, adapt, nearest sources, attribution, audit, a picture, a page.

    Nothing is downloaded: the photographs come with scikit-image and scikit-learn, the fakes are made from them.
    """
    from fewshot.demo.story import run_demo

    story = run_demo(
        out,
        seed=seed,
        trials=trials,
        most=tiles,
        quiet=quiet,
        say=lambda part: click.echo(f"{part}\n", err=as_json),
        program=_program(),
    )
    if as_json:
        made = {"store": str(story.store.path), "picture": str(story.picture), "page": str(story.page)}
        accuracy = {backbone: found.accuracy for backbone, found in story.nearest.items()}
        summary = story.report.summary()
        click.echo(json.dumps({**made, "summary": summary, "nearest_accuracy": accuracy}, indent=1))


def _program() -> str:
    """Return what to type for this command: its path where it was called by one and is not found without."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "fewshot" and not shutil.which("fewshot") else "fewshot"
