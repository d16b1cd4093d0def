"""``fewshot inspect``: what is in a store, report or detector, and how it was made."""

from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import json_option
from fewshot.cli.reporting import labelled_text, print_text
from fewshot.core.control_characters import escape_control, json_text


@click.command(
    cls=Command,
    short_help="What is in a store, report or detector.",
    examples=("fewshot inspect images.h5", "fewshot inspect report.json mine.detector --json"),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@json_option
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what is in stores (STORE.h5), reports (REPORT.json) or detectors (NAME.detector), and how they were made."""
    from fewshot.detector.archive import is_detector

    described = []
    for file in files:
        of_kind = _report if file.suffix.lower() == ".json" else _detector if is_detector(file) else _store
        described.append(of_kind(file, as_json=as_json))
    for text in described:  # every file has been read: one that is none leaves nothing half said
        print_text(text)


def _store(file: Path, *, as_json: bool) -> str:
    from fewshot.embeddings.store.description import describe, lines
    from fewshot.embeddings.store.reader import FeatureStore

    with FeatureStore(file) as store:
        return json_text(describe(store)) if as_json else "\n".join(lines(store))


def _report(file: Path, *, as_json: bool) -> str:
    from fewshot.results.report import Report

    report = Report.load(file)
    if as_json:
        return json_text(report.to_file_json())
    made = {"config": report.config, "provenance": report.provenance}
    head = f"{file}: protocol {report.protocol}, {len(report.rows)} rows, supports of {len(report.supports)} draws kept"
    warnings = [f"warning  {warning}" for warning in report.warnings]
    fields = [f"{name:<10} {json_text(value)}" for part in made.values() for name, value in part.items()]
    return "\n".join(map(escape_control, [head, *warnings, *fields]))


def _detector(file: Path, *, as_json: bool) -> str:
    from fewshot.detector.detector import Detector
    from fewshot.detector.summary import lines, to_json

    detector = Detector.load(file)
    return json_text(to_json(detector)) if as_json else labelled_text(lines(detector))
