"""``fewshot report``: reports as one page."""

from pathlib import Path

import click


@click.command()
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    "out",
    type=click.Path(path_type=Path),
    default=Path("page.html"),
    show_default=True,
    help="The page to write.",
)
@click.option("--title", default="fewshot report", show_default=True, help="Heading of the page.")
def command(reports: tuple[Path, ...], out: Path, title: str) -> None:
    """Show reports of any protocol as one self-contained HTML page.

    Warnings stand first, then figures and sortable tables; JSON and CSV can be taken from the page.
    """
    from fewshot.page.document import write_page
    from fewshot.report import Report

    click.echo(write_page({str(path): Report.load(path) for path in reports}, out, title=title))
