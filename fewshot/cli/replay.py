"""``fewshot replay``: run a report again and compare the numbers."""

from dataclasses import asdict
from math import isfinite
from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import STORE, json_option, report_option
from fewshot.cli.reporting import print_json, print_line, require_report_file


@click.command(
    cls=Command,
    short_help="Run a report again and compare the numbers.",
    examples=("fewshot replay report.json", "fewshot replay report.json --store moved/images.h5 -o again.json"),
)
@click.argument("report", type=click.Path(path_type=Path), metavar="REPORT")
@click.option(
    "--store", "stores", multiple=True, type=STORE, metavar="STORE", help="Where the store lies now; repeat in order."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-6,
    show_default=True,
    metavar="NUMBER",
    help="Largest difference that is equal.",
)
@report_option(text="The new report to write.")
@json_option
@click.pass_context
def command(
    context: click.Context, report: Path, stores: tuple[Path, ...], tolerance: float, out: Path | None, as_json: bool
) -> None:
    """Repeat REPORT and say whether its numbers come out again; exit status 1 when they do not.

    Attribution trains networks, whose numbers come out again on the machine that made them.
    """
    require_report_file(out, keep_scores=False, inputs=[report, *stores])
    from fewshot.protocols.replay import replay
    from fewshot.results.report import Report

    found = replay(Report.load(report), stores=stores, tolerance=tolerance)
    if out is not None:
        found.report.save(out)
    if as_json:
        difference = asdict(found.difference)
        difference["largest"] = difference["largest"] if isfinite(difference["largest"]) else None
        document = {**difference, "supports_equal": found.supports_equal, "changed": found.changed}
        print_json({**document, "equal": found.equal})
    else:
        print_line(found)
    context.exit(0 if found.equal else 1)
