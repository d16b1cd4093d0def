"""``fewshot predict``: verdicts of images by a detector file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    device_option,
    json_option,
    log_option,
    out_option,
    quiet_option,
    refuse_given,
    weights_option,
    where_option,
    workers_option,
)
from fewshot.cli.reporting import print_json, print_line, print_note, print_text
from fewshot.core.control_characters import json_text

if TYPE_CHECKING:
    from fewshot.detector.detector import Detector
    from fewshot.detector.judgement import Judged
    from fewshot.detector.tally import Tally

_PATH = click.Path(path_type=Path)


@click.command(
    cls=Command,
    short_help="Verdicts of images, with a stated false-alarm rate.",
    examples=(
        "fewshot predict mine.detector inbox/ -o verdicts.csv",
        "fewshot predict mine.detector 'inbox/**/*.png' --stability --log audit.jsonl",
    ),
)
@click.argument("detector", type=_PATH, metavar="DETECTOR")
@click.argument("images", nargs=-1, required=True, metavar="INPUT...")
@out_option(metavar="VERDICTS.csv|.jsonl|.parquet", text="The file to write verdicts to, instead of printing them.")
@log_option
@click.option(
    "--stability",
    is_flag=True,
    help="Judge re-encodings of every image as well (JPEG, half size, blur ...); a verdict that flips becomes unsure.",
)
@click.option("--c2pa", is_flag=True, help="Show content credentials and EXIF beside the score; they never change it.")
@click.option("--trust-list", type=_PATH, metavar="FILE.pem", help="Root certificates of trusted signers, for --c2pa.")
@click.option("--strict", is_flag=True, help="Exit with status 1 where an image could not be judged.")
@where_option
@weights_option
@workers_option
@device_option(default="auto")
@quiet_option
@json_option
def command(detector: Path, images: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Say of every image whether it is synthetic, natural, or whether the evidence does not suffice (unsure).

    INPUT is an image, a folder, a pattern in quotes ('inbox/**/*.png'), a store whose features are judged, or - for a
    list of paths on the standard input. What is given twice is judged twice. Weights, preprocessing and precision are
    those of the fit; others are refused. Images that cannot be judged are listed with the reason.
    """
    from fewshot.core.signals import terminate_as_interrupt
    from fewshot.detector.detector import Detector
    from fewshot.detector.prediction import PredictSettings, predict

    if not options["c2pa"]:
        refuse_given(("trust_list",), why="it is of --c2pa")
    files = {name: options.pop(name) for name in ("out", "log", "quiet")}
    with terminate_as_interrupt():
        loaded = Detector.load(detector)
        shown = (_Json if as_json else _Text)(loaded, listing=files["out"] is None)
        predict(loaded, images, PredictSettings(**options), show=shown.some, end=shown.end, **files)


class _Shown:
    """What is printed while images are judged: each of them with ``listing``, which begins with the first."""

    def __init__(self, detector: "Detector", *, listing: bool) -> None:
        self.detector = detector
        self.listing = listing
        self._begun = False


class _Text(_Shown):
    """Verdicts as a table, then the counts and what the threshold promises."""

    def some(self, judged: "Sequence[Judged]") -> None:
        """Print a line for each, unless they are written to a file."""
        from fewshot.detector.verdict_table import HEADER, line

        if not self.listing:
            return
        if not self._begun:
            print_line(HEADER)
            self._begun = True
        for one in judged:
            print_line(line(one))
            self._evidence(one)

    def end(self, tally: "Tally") -> None:
        """Print what failed and was left out, the counts and the promise."""
        from fewshot.detector.summary import promises, weighed

        for what, count in tally.left_out.items():
            print_note(f"left out: {count} x {what}")
        if not self.listing:
            for line in tally.failure_lines():
                print_line(line)
        print_line(tally.line())
        if how := weighed(self.detector.description):
            print_line(f"scores: {how}")
        print_line(promises(self.detector)[0])

    def _evidence(self, judged: "Judged") -> None:
        for sentence in judged.provenance.get("sentences", ()):
            print_line(f"{'':<11}not used in the score: {sentence}")


class _Json(_Shown):
    """One JSON document, printed as it comes: the detector, every image unless they are in a file, the counts."""

    def some(self, judged: "Sequence[Judged]") -> None:
        """Print the images, one a line."""
        from fewshot.detector.verdict_files import to_json

        if not self.listing:
            return
        for one in judged:
            before = "," if self._begun else f'{{"detector": {json_text(self._detector())}, "images": [\n'
            print_text(f"{before}{json_text(to_json(one))}")
            self._begun = True

    def end(self, tally: "Tally") -> None:
        """Print the counts, and the end of the document."""
        if self.listing:
            print_text(f'], "counts": {json_text(tally.to_json())}}}')
        else:
            print_json({"detector": self._detector(), "counts": tally.to_json()})

    def _detector(self) -> dict[str, Any]:
        from fewshot.detector.summary import promises

        described = self.detector.description
        weights = {"weights": described.weights} if described.weights else {}
        return {
            "name": self.detector.name,
            "digest": self.detector.digest,
            "alarm": described.alarm.value,
            "clear": described.clear.value,
            "promises": promises(self.detector),
            **weights,
        }
