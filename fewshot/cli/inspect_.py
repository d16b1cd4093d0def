"""``fewshot inspect``: what is in a store or report, and how it was made."""

import json
from pathlib import Path

import click

from fewshot.cli.options import json_option


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@json_option
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what is in stores (STORE.h5) or reports (REPORT.json), and how they were made."""
    for file in files:
        text = _report(file, as_json) if file.suffix.lower() == ".json" else _store(file, as_json)
        click.echo(text)


def _store(file: Path, as_json: bool) -> str:
    from fewshot.embeddings.store.description import describe, lines
    from fewshot.embeddings.store.reader import FeatureStore

    with FeatureStore(file) as store:
        return json.dumps(describe(store)) if as_json else "\n".join(lines(store))


def _report(file: Path, as_json: bool) -> str:
    from fewshot.results.report import Report

    report = Report.load(file)
    if as_json:
        return json.dumps(report.to_file_json())
    made = {"config": report.config, "provenance": report.provenance}
    head = f"{file}: protocol {report.protocol}, {len(report.rows)} rows, supports of {len(report.supports)} draws kept"
    warnings = [f"warning  {warning}" for warning in report.warnings]
    fields = [f"{name:<10} {json.dumps(value)}" for part in made.values() for name, value in part.items()]
    return "\n".join([head, *warnings, *fields])
