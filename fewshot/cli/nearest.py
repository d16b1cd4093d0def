"""``fewshot nearest``: the known sources that each image is most like."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.options import (
    STORE,
    backbone_option,
    device_option,
    group_option,
    json_option,
    keep_scores_option,
    pairs_option,
    quiet_option,
    refuse_given,
    report_option,
    seed_option,
    split_numbers,
    trials_option,
    where_option,
)
from fewshot.cli.reporting import print_json, print_note, print_report, print_text, print_warnings, report_outputs
from fewshot.core.outputs import INDEX, INDEX_DESCRIPTION, PNG, Output, require_outputs

if TYPE_CHECKING:
    from fewshot.embeddings.search.index import SourceIndex
    from fewshot.embeddings.search.query import Queries
    from fewshot.protocols.sources.lookup import Lookup
    from fewshot.results.report import Confusion, Report

_FILE = click.Path(path_type=Path)
_TABLES = {
    "Source of every image, itself left out": (
        "source_accuracy",
        "f1",
        "homophily",
        "balanced_source_accuracy",
        "macro_f1",
    ),
    "A new source from a few images, nothing refitted": ("new_source_recall", "new_source_false_rate"),
    "A source that was left out, against the known ones": (
        "unknown_auroc",
        "open_set_rate",
        "false_unknown_rate",
        "unknown_rate",
    ),
}


@click.command()
@click.argument("store", type=STORE)
@click.argument("images", type=_FILE, nargs=-1)
@click.option("--query", type=STORE, help="Look up the images of a whole store; it may be STORE itself.")
@click.option(
    "--query-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    callback=pairs_option,
    help="Which images of --query; as --where when it is STORE itself.",
)
@click.option("--per-source", type=click.IntRange(1), help="At most this many images of each source of --query.")
@report_option(
    text="Run the whole experiment on STORE instead, and write its report: accuracy, homophily, few-shot, open set."
)
@click.option(
    "--shots", default="1,5,10,50", show_default=True, callback=split_numbers, help="Images of a new source, for -o."
)
@trials_option(default=20, text="Draws, for -o.")
@group_option(text="Images that share this column's value do not answer each other.")
@click.option("-k", type=click.IntRange(1), default=5, show_default=True, help="Nearest images that vote.")
@backbone_option
@click.option("--layer", metavar="NAME", help="Which layer.  [default: the backbone's own choice]")
@click.option(
    "--metric",
    type=click.Choice(["cosine", "ip", "l2"]),
    default="cosine",
    show_default=True,
    help="Cosine, inner product or minus the Euclidean distance.",
)
@click.option(
    "--index",
    "kind",
    type=click.Choice(["flat", "hnsw", "ivf-flat", "ivf-pq", "auto"]),
    default="flat",
    show_default=True,
    help="Exact search, or an approximate one whose recall is measured and shown.",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Recall wanted of an approximate index.",
)
@click.option("--index-file", type=_FILE, help="Load the index from here, or build it and save it here.")
@click.option(
    "--unknown-rate",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of known images that may be called unknown; 0 calls nothing unknown.",
)
@click.option("--gallery", type=_FILE, help="Draw every query beside its nearest images: .html, .png.")
@click.option("--confusion", type=_FILE, help="Draw what each source was taken for: .png.")
@click.option("--weights", multiple=True, metavar="NAME=PATH", help="Weight files, as for `fewshot embed`.")
@device_option(default="auto", text="Where to compute.")
@keep_scores_option
@where_option
@seed_option
@quiet_option
@json_option
def command(store: Path, images: tuple[Path, ...], query: Path | None, as_json: bool, **options: Any) -> None:
    """Show which known sources IMAGES are most like, with the nearest images of STORE as evidence.

    A source's share is its similarity-weighted vote divided by its number of images, so that a large source does not
    win by its size. An image is `unknown` when its nearest image is farther than is usual within the store.
    """
    if sum(map(bool, (images, query, options["out"]))) != 1:
        raise click.UsageError("give IMAGE..., --query STORE or -o REPORT.json, one of the three")
    _refuse_unused(query, options)
    _require_outputs(options, inputs=(store, *images, query))
    if options["out"]:
        _experiment(store, as_json, options)
    else:
        _look_up(store, images, query, as_json, options)


def _require_outputs(options: dict[str, Any], *, inputs: Iterable[Path | None]) -> None:
    """Refuse, before anything is searched, to write over what must stay."""
    from fewshot.embeddings.search.files import description_path

    outputs = report_outputs(options["out"], keep_scores=options["keep_scores"])
    if gallery := options["gallery"]:
        from fewshot.page.gallery import gallery_kind

        outputs.append(Output(gallery, gallery_kind(gallery), "--gallery"))
    outputs.append(Output(options["confusion"], PNG, "--confusion"))
    read = [*inputs, *(Path(value.partition("=")[2]) for value in options["weights"])]
    index: Path | None = options["index_file"]
    if index is not None and index.exists():
        read += [index, description_path(index)]
    elif index is not None:
        described = Output(description_path(index), INDEX_DESCRIPTION, "--index-file")
        outputs += [Output(index, INDEX, "--index-file"), described]
    require_outputs(outputs, inputs=read)


def _refuse_unused(query: Path | None, options: dict[str, Any]) -> None:
    """Refuse options that would be passed over without a word."""
    if options["out"]:
        only = ("kind", "recall", "index_file", "gallery", "weights", "query_where", "per_source", "device")
        refuse_given(only, why="-o runs the experiment by exact search on the images of STORE")
        return
    refuse_given(("shots", "trials"), why="they are of the experiment that -o runs")
    if query is None:
        refuse_given(("query_where", "per_source"), why="they choose images of --query")
        refuse_given(("confusion",), why="nothing says of which source IMAGES are; --query does")
    else:
        refuse_given(("weights",), why="the features of --query are read and not computed")
    if options["kind"] == "flat":
        refuse_given(("recall",), why="an exact index finds all; it is of an approximate --index")


def _experiment(store: Path, as_json: bool, options: dict[str, Any]) -> None:
    """Run the protocol, save what is wanted, and print its tables."""
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.base import RunContext
    from fewshot.protocols.nearest import Nearest

    same = ("backbone", "layer", "where", "group", "metric", "k", "shots", "trials", "seed")
    protocol = Nearest(rate=options["unknown_rate"], **{name: options[name] for name in same})
    context = RunContext(quiet=options["quiet"], keep_scores=options["keep_scores"])
    result = protocol.run(FeatureStore(store), context)
    report = result.report
    print_note(f"report: {result.save(options['out'])}")
    if options["confusion"] and report.confusion:
        _draw_confusion(report.confusion, options["confusion"])
    print_report(report, _tables(report), as_json=as_json)


def _tables(report: "Report") -> str:
    from fewshot.results.tables import report_table

    tables = {title: report_table(report.rows, metrics) for title, metrics in _TABLES.items()}
    return "\n\n".join(f"{title}\n\n{table}" for title, table in tables.items())


def _look_up(store: Path, images: tuple[Path, ...], query: Path | None, as_json: bool, options: dict[str, Any]) -> None:
    """Answer the queries: save what is wanted, print the answers, and last name the images that could not be read."""
    from fewshot.core.errors import InputError
    from fewshot.protocols.sources.lookup import Lookup

    index = _index(store, options)
    queries = _queries(index, images, query, options)
    given = {name: options[name] for name in ("k", "group", "seed")}
    found = Lookup.of(index, queries, rate=options["unknown_rate"], **given)
    _draw(found, options)
    if as_json:
        print_json(found.to_json(), indent=1)
    else:
        print_text(found.text())
        print_warnings(found.warnings)
    if queries.failed:
        listed = "; ".join(f"{path}: {reason}" for path, reason in queries.failed[:5])
        raise InputError(f"{len(queries.failed)} images could not be read and have no answer: {listed}")


def _index(store: Path, options: dict[str, Any]) -> "SourceIndex":
    from click.core import ParameterSource

    from fewshot.protocols.sources.index_request import IndexRequest

    file: Path | None = options["index_file"]
    names = ("backbone", "layer", "metric", "where", "kind", "recall", "device", "seed")
    request = IndexRequest(**{name: options[name] for name in names})
    if file is not None and file.exists():
        source = click.get_current_context().get_parameter_source
        named = [name for name in names if source(name) not in (None, ParameterSource.DEFAULT)]
        return request.load(store, file, named=named)
    index = request.build(store)
    if options["kind"] != "flat":
        print_note(f"index: {index.choice}")
    if file is not None:
        print_note(f"index saved as {index.save(file)}")
    return index


def _queries(index: "SourceIndex", images: tuple[Path, ...], query: Path | None, options: dict[str, Any]) -> "Queries":
    from fewshot.embeddings.search.query import from_images, from_store
    from fewshot.embeddings.store.reader import FeatureStore

    if query is None:
        return from_images(index, images, weights=options["weights"], device=options["device"])
    same = query.resolve() == index.store.path.resolve()
    return from_store(
        index,
        index.store if same else FeatureStore(query),
        where=options["query_where"] or (options["where"] if same else None),
        per_source=options["per_source"],
        group=options["group"],
        seed=options["seed"],
    )


def _draw(found: "Lookup", options: dict[str, Any]) -> None:
    if options["gallery"]:
        _draw_gallery(found, options["gallery"])
    if options["confusion"] and found.measured:
        from fewshot.results.report import Confusion

        counts = tuple(tuple(map(int, row)) for row in found.measured.confusion)
        _draw_confusion(Confusion(found.measured.names, counts), options["confusion"])


def _draw_gallery(found: "Lookup", path: Path) -> None:
    from fewshot.embeddings.search.query import image_files
    from fewshot.page.gallery import Shown, write_gallery

    index = found.index
    shown = [
        Shown(finding, file, image_files(index.store, [near.row for near in finding.neighbours]), truth)
        for finding, file, truth in zip(found.findings, found.queries.files, found.truths, strict=True)
    ]
    layer = f"{index.info.backbone}, layer {index.info.layer}, {index.metric}"
    note = f"{layer}: {len(index)} images of {len(index.counts)} sources."
    print_note(f"gallery: {write_gallery(shown, path, title='Nearest images', note=note)}")


def _draw_confusion(taken: "Confusion", path: Path) -> None:
    import numpy as np

    from fewshot.figures.canvas import save_png
    from fewshot.figures.confusion import confusion

    counts = np.array(taken.counts)
    title = f"nearest sources: {100 * np.trace(counts) / counts.sum():.0f} % of {counts.sum()} images right"
    print_note(f"figure: {save_png(confusion(counts, taken.names, title=title), path, option='--confusion')}")
