"""``fewshot drift``: whether the traffic of a detector still looks like its calibration."""

from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option, share_option
from fewshot.cli.reporting import print_json, print_labelled

_PATH = click.Path(path_type=Path)
DRIFTING = 3


@click.command(
    cls=Command,
    short_help="Does the traffic still look like the calibration?",
    examples=(
        "fewshot drift mine.detector audit.jsonl",
        "fewshot drift mine.detector audit.jsonl --synthetic-share 2% --json",
    ),
)
@click.argument("detector", type=_PATH, metavar="DETECTOR")
@click.argument("log", type=_PATH, metavar="AUDIT.jsonl")
@click.option(
    "--level",
    callback=share_option,
    default="5%",
    show_default=True,
    metavar="SHARE",
    help="Probability of finding drift where there is none, over all comparisons and all looks.",
)
@click.option(
    "--synthetic-share",
    callback=share_option,
    default="0%",
    show_default=True,
    metavar="SHARE",
    help="Share of the traffic that may be synthetic without counting as drift.",
)
@json_option
def command(detector: Path, log: Path, level: float, synthetic_share: float, as_json: bool) -> None:
    """Compare the traffic in AUDIT.jsonl, which `fewshot predict --log` wrote, with the calibration of DETECTOR.

    The share of unknown images, the share of alarms and the scores are compared. The log may grow and be looked at as
    often as you like. Exit status 3 when drift was found, at any time in the log; begin a new log once you have acted
    on it.
    """
    from fewshot.detector.detector import Detector
    from fewshot.detector.drift import drift
    from fewshot.detector.drift_summary import lines, to_json

    found = drift(Detector.load(detector), log, level=level, synthetic_share=synthetic_share)
    if as_json:
        print_json(to_json(found))
    else:
        print_labelled(lines(found, log=str(log)))
    if found.drifting:
        click.get_current_context().exit(DRIFTING)
