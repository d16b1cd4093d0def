"""``fewshot report``: reports as one page."""

from pathlib import Path

import click

from fewshot.cli.options import STORE
from fewshot.cli.reporting import print_line
from fewshot.core.outputs import PAGE, Output, require_outputs


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
@click.option("--store", type=STORE, help="Their store: its audit comes first, and its features are drawn.")
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
