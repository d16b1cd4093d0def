"""``fewshot nearest evaluate``: how well the sources of a store are told by their nearest images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.nearest_lookup import confusion_option, draw_confusion, require_column, search_options
from fewshot.cli.options import (
    STORE,
    counts_option,
    json_option,
    keep_scores_option,
    quiet_option,
    report_option,
    seed_option,
    trials_option,
    where_option,
)
from fewshot.cli.reporting import print_full, print_note, report_outputs
from fewshot.core.outputs import PNG, Output, require_outputs
from fewshot.core.shortened import LONGEST_SOURCE, shortened

if TYPE_CHECKING:
    from fewshot.protocols.base import Result
    from fewshot.results.report import Report
    from fewshot.results.row import Row

# Title -> metric -> its column.
_TABLES = {
    "Source of every image, itself left out": {
        "source_accuracy": "accuracy",
        "f1": "F1",
        "balanced_source_accuracy": "mean over sources",
        "macro_f1": "macro F1",
        "homophily": "homophily",
    },
    "A new source from a few images, nothing refitted": {
        "new_source_recall": "found",
        "new_source_false_rate": "wrongly found",
    },
    "A source that was left out, against the known ones": {
        "unknown_auroc": "AUROC",
        "open_set_rate": "open-set rate",
        "unknown_rate": "called unknown",
        "false_unknown_rate": "wrongly unknown",
    },
}

_EPISODES = ("prototype_accuracy", "prototype_macro_f1")


@click.command(
    cls=Command,
    short_help="Measure how well sources are told on a store.",
    examples=(
        "fewshot nearest evaluate images.h5 -o nearest.json",
        "fewshot nearest evaluate images.h5 --group group --confusion confusion.png",
    ),
)
@click.argument("store", type=STORE, metavar="STORE")
@click.option(
    "--shots",
    default="1,5,10,50",
    show_default=True,
    callback=counts_option,
    metavar="N[,N...]",
    help="Images of a new source.",
)
@trials_option(default=20)
@click.option(
    "--ways",
    type=click.IntRange(2),
    default=5,
    show_default=True,
    metavar="N",
    help="Synthetic sources among which an image is attributed by prototypes, drawn anew for every episode.",
)
@click.option(
    "--episodes",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    metavar="N",
    help="Draws of sources, supports and queries of that attribution; 0 leaves it out.",
)
@search_options
@report_option()
@confusion_option
@keep_scores_option
@where_option
@seed_option
@quiet_option
@json_option
def command(store: Path, out: Path | None, confusion: Path | None, as_json: bool, **options: Any) -> None:
    """Make every image of STORE the query in turn: accuracy, few-shot attribution, and open-set measures.

    Of each source: how often it is named rightly; how well it is found from a few of its images, as if it were new;
    and, left out, how well its images are distinguished from known ones. Of the synthetic sources: how well --ways of
    them are told apart by the mean of a few images each. Nothing is fitted; the search is exact.
    """
    from fewshot.embeddings.store.reader import FeatureStore

    keep_scores: bool = options["keep_scores"]
    require_outputs(
        [*report_outputs(out, keep_scores=keep_scores), Output(confusion, PNG, "--confusion")], inputs=[store]
    )
    with FeatureStore(store) as opened:
        require_column(opened, options["group"])
        result = _run(opened, options)
    report = result.report
    if out is not None:
        print_note(f"report: {result.save(out)}")
    if confusion is not None and report.confusion is not None:
        draw_confusion(report.confusion, confusion)
    print_full(report, lambda: _tables(report), as_json=as_json)


def _run(store: Any, options: dict[str, Any]) -> "Result":
    from fewshot.protocols.base import RunContext
    from fewshot.protocols.nearest import Nearest

    same = ("backbone", "layer", "where", "group", "metric", "k", "shots", "trials", "ways", "episodes", "seed")
    protocol = Nearest(rate=options["unknown_rate"], **{name: options[name] for name in same})
    return protocol.run(store, RunContext(quiet=options["quiet"], keep_scores=options["keep_scores"]))


def _tables(report: "Report") -> list[str]:
    """Return what was searched and the tables: a line per source, and last the line of all of them."""
    tables = [_table(report, title, metrics) for title, metrics in _TABLES.items()]
    return [_searched(report), *tables, _episodes(report)]


def _searched(report: "Report") -> str:
    config = report.config
    sources = len(report.confusion.names) if report.confusion else 0
    chance = f"; {sources} sources, chance {1 / sources:.3f}" if sources else ""
    return f"{config['backbone']}, layer {config['layer']}, {config['metric']}, k {config['k']}{chance}"


def _table(report: "Report", title: str, metrics: dict[str, str]) -> str:
    from fewshot.results.row import spread_in_words
    from fewshot.results.tables import text_table

    rows = [row for row in report.rows if row.metric in metrics]
    present = [name for name in metrics if any(row.metric == name for row in rows)]
    if not present:
        return ""
    tried = {(row.source, row.shots): row.n_query for row in rows}
    values = {(row.source, row.shots, row.metric): row for row in rows}
    few_shot = any(shots is not None for _, shots in tried)
    lines = [
        [
            shortened(source, most=LONGEST_SOURCE),
            *([str(shots)] if few_shot else []),
            *(_cells([values.get((source, shots, name)) for name in present], ranged=few_shot)),
            str(images),
        ]
        for (source, shots), images in tried.items()
    ]
    first, *others = (metrics[name] for name in present)
    header = [
        "source",
        *(["shots"] if few_shot else []),
        first,
        *([spread_in_words(rows)] if few_shot else []),
        *others,
        "images",
    ]
    return f"{title}\n\n{text_table(header, lines)}"


def _episodes(report: "Report") -> str:
    """Return the table of attribution by prototypes: a line per shot count, with intervals over the episodes."""
    from fewshot.results.tables import text_table

    of_shots: dict[int, dict[str, Row]] = {}
    for row in report.rows:
        if row.metric in _EPISODES and row.shots is not None:
            of_shots.setdefault(row.shots, {})[row.metric] = row
    lines = []
    for shots, measured in of_shots.items():
        first = measured[_EPISODES[0]]
        ways = first.n_support // shots
        cells = [cell for name in _EPISODES for cell in _with_interval(measured[name])]
        lines.append([str(ways), str(shots), *cells, f"{1 / ways:.3f}", str(len(first.values))])
    if not lines:
        return ""
    header = ["ways", "shots", "accuracy", "95 % interval", "macro F1", "95 % interval", "chance", "episodes"]
    title = "Synthetic sources against each other, each known as the mean of a few images"
    return f"{title}\n\n{text_table(header, lines)}"


def _with_interval(row: "Row") -> tuple[str, str]:
    found = row.summary()
    return f"{found.mean:.3f}", f"{found.low:.3f}-{found.high:.3f}"


def _cells(rows: Sequence["Row | None"], *, ranged: bool) -> list[str]:
    """Return the mean of every measure; behind the first, with ``ranged``, where its draws landed."""
    cells = ["" if row is None else f"{row.summary().mean:.3f}" for row in rows]
    first = rows[0]
    if ranged and first is not None:
        low, high = first.spread
        cells.insert(1, f"{low:.3f}-{high:.3f}")
    return cells
