"""``fewshot report``: reports as one page."""

from pathlib import Path

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import STORE, out_option
from fewshot.cli.reporting import print_line
from fewshot.core.outputs import PAGE, Output, require_outputs


@click.command(
    cls=Command,
    short_help="Show reports as one page.",
    examples=(
        "fewshot report report.json -o page.html",
        "fewshot report report.json nearest.json --store images.h5 -o page.html",
    ),
)
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORT...")
@out_option(metavar="PAGE.html", default=Path("page.html"), text="The page to write.")
@click.option("--title", default="fewshot report", show_default=True, metavar="TITLE", help="Heading of the page.")
@click.option(
    "--store", type=STORE, metavar="STORE", help="Their store: its audit comes first, and its features are drawn."
)
def command(reports: tuple[Path, ...], out: Path, title: str, store: Path | None) -> None:
    """Show reports of any protocol as one self-contained HTML page.

    Warnings come first, then figures and sortable tables; JSON and CSV can be downloaded from the page. Scores that
    --keep-scores left beside a report are drawn as ROC curves.
    """
    from fewshot.audit import audit
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.page.charts import feature_charts
    from fewshot.page.curves import all_roc_charts
    from fewshot.page.document import write_page
    from fewshot.results.report import Report

    scores = [path.with_suffix(".npz") for path in reports]
    require_outputs([Output(out, PAGE)], inputs=[*reports, *scores, store])
    loaded = {str(path): Report.load(path) for path in reports}
    beside = all_roc_charts(loaded)
    if store is None:
        print_line(write_page(loaded, out, title=title, beside=beside))
        return
    opened = FeatureStore(store)
    drawn = feature_charts(opened, loaded.values())
    print_line(write_page(loaded, out, title=title, audit=audit(opened), beside=beside, more=drawn))
