"""``fewshot card``: a model card of a detector."""

from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import out_option
from fewshot.cli.reporting import print_note, print_text

_FILE = click.Path(path_type=Path)


@click.command(
    cls=Command,
    short_help="Write a model card, with limits of use.",
    examples=("fewshot card mine.detector", "fewshot card mine.detector -o card.markdown"),
)
@click.argument("detector", type=_FILE, metavar="DETECTOR")
@out_option(metavar="CARD.markdown", text="The file to write.  [default: stdout]")
def command(detector: Path, out: Path | None) -> None:
    """Write a model card of DETECTOR in Markdown.

    It says what it is for and what not, which images it was fitted on, what its thresholds promise and what they do
    not, how well it tells the classes apart, the licences of its weights, and its parent.
    """
    from fewshot.core.files import write_text
    from fewshot.core.outputs import Output, require_outputs
    from fewshot.detector.detector import Detector
    from fewshot.detector.model_card import CARD, model_card

    require_outputs([Output(out, CARD)], inputs=[detector])
    card = model_card(Detector.load(detector))
    if out is None:
        print_text(card.rstrip("\n"))
    else:
        print_note(f"model card: {write_text(out, card, kind=CARD)}")
