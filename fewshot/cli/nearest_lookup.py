"""``fewshot nearest lookup``: the known sources that each image is most like."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.grouped_help import Command
from fewshot.cli.options import (
    STORE,
    backbone_option,
    device_option,
    gallery_option,
    group_option,
    json_option,
    layer_option,
    pairs_option,
    quiet_option,
    refuse_given,
    root_option,
    seed_option,
    weights_option,
    where_option,
)
from fewshot.cli.reporting import print_json, print_note, print_text, print_warning, print_warnings
from fewshot.core.outputs import INDEX, INDEX_DESCRIPTION, PNG, Output, require_outputs

if TYPE_CHECKING:
    from fewshot.embeddings.search.index import SourceIndex
    from fewshot.embeddings.search.query import Queries
    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.sources.lookup import Lookup
    from fewshot.results.report import Confusion

_FILE = click.Path(path_type=Path)


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How images are searched, which looking up and evaluating share."""
    for option in (
        click.option(
            "--unknown-rate",
            type=click.FloatRange(0, 1, max_open=True),
            default=0.05,
            show_default=True,
            metavar="SHARE",
            help="Share of known images that may be called unknown; 0 calls nothing unknown.",
        ),
        click.option(
            "--metric",
            type=click.Choice(["cosine", "ip", "l2"]),
            default="cosine",
            show_default=True,
            help="Cosine, inner product or minus the Euclidean distance.",
        ),
        click.option(
            "-k", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="Nearest images that vote."
        ),
        layer_option(),
        backbone_option(),
        group_option(text="Images that share this column's value do not answer each other."),
    ):
        command = option(command)
    return command


def confusion_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--confusion``: what each source was taken for, as a picture."""
    text = "Draw what each source was taken for."
    return click.option("--confusion", type=_FILE, metavar="CONFUSION.png", help=text)(command)


@click.command(
    cls=Command,
    short_help="Look images up among the sources of a store.",
    examples=(
        "fewshot nearest images.h5 suspicious.png --gallery near.html",
        "fewshot nearest images.h5 --query others.h5 --confusion confusion.png",
    ),
)
@click.argument("store", type=STORE, metavar="STORE")
@click.argument("images", type=_FILE, nargs=-1, metavar="[IMAGE...]")
@click.option("--query", type=STORE, metavar="STORE", help="Query all images of a store; it may be the same one.")
@click.option(
    "--query-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    callback=pairs_option,
    help="Which images of --query; as --where when it is STORE itself.",
)
@click.option(
    "--per-source",
    type=click.IntRange(1),
    metavar="N",
    help="At most this many images of each source of --query.",
)
@search_options
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
    metavar="SHARE",
    help="Recall wanted of an approximate index.",
)
@click.option(
    "--index-file",
    type=_FILE,
    metavar="INDEX.faiss",
    help="Load the index from here, or build it and save it here.",
)
@gallery_option
@root_option
@confusion_option
@weights_option
@device_option(default="auto")
@where_option
@seed_option
@quiet_option
@json_option
def command(store: Path, images: tuple[Path, ...], query: Path | None, as_json: bool, **options: Any) -> None:
    """Show which known sources IMAGES are most like, with the nearest images of STORE as evidence.

    A source's share is its similarity-weighted vote divided by its number of images, so that a large source does not
    win by its size. An image is `unknown` when its nearest image is farther than is usual within the store.
    """
    if bool(images) == (query is not None):
        raise click.UsageError(
            f"give IMAGE... or --query STORE, one of the two; how well sources are told on the store itself says: "
            f"fewshot nearest evaluate {store} -o REPORT.json"
        )
    _refuse_unused(query, options)
    _require_outputs(options, inputs=(store, *images, query))
    _require_columns((store, query), options["group"])
    _look_up(store, images, query, as_json, options)


def _refuse_unused(query: Path | None, options: dict[str, Any]) -> None:
    """Refuse options that would be passed over without a word."""
    if query is None:
        refuse_given(("query_where", "per_source"), why="they choose images of --query")
        refuse_given(("confusion",), why="nothing says of which source IMAGES are; --query does")
    else:
        refuse_given(("weights",), why="the features of --query are read and not computed")
    if options["kind"] == "flat":
        refuse_given(("recall",), why="an exact index finds all; it is of an approximate --index")
    if options["gallery"] is None:
        refuse_given(("roots",), why="it is of --gallery")


def _require_outputs(options: dict[str, Any], *, inputs: Iterable[Path | None]) -> None:
    """Refuse, before anything is searched, to write over what must stay."""
    from fewshot.embeddings.search.files import description_path
    from fewshot.embeddings.search.query import require_roots
    from fewshot.embeddings.weights.requests import files as weight_files

    require_roots(options["roots"])
    outputs = []
    if gallery := options["gallery"]:
        from fewshot.page.gallery import gallery_kind

        outputs.append(Output(gallery, gallery_kind(gallery), "--gallery"))
    outputs.append(Output(options["confusion"], PNG, "--confusion"))
    read = [*inputs, *weight_files(options["weights"])]
    index: Path | None = options["index_file"]
    if index is not None and index.exists():
        read += [index, description_path(index)]
    elif index is not None:
        described = Output(description_path(index), INDEX_DESCRIPTION, "--index-file")
        outputs += [Output(index, INDEX, "--index-file"), described]
    require_outputs(outputs, inputs=read)


def _require_columns(stores: Iterable[Path | None], name: str | None) -> None:
    """Refuse stores without the column of ``--group`` before their features are read."""
    from fewshot.embeddings.store.reader import FeatureStore

    for path in stores:
        if path is not None:
            with FeatureStore(path) as store:
                require_column(store, name)


def require_column(store: "FeatureStore", name: str | None) -> None:
    """Refuse a store without a column.

    Raises:
        UnknownNameError: it has none of this name.
    """
    from fewshot.core.errors import unknown_name

    if name is not None and name not in store.columns:
        raise unknown_name("column", name, store.columns)


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
        roots=options["roots"],
    )


def _draw(found: "Lookup", options: dict[str, Any]) -> None:
    if options["gallery"]:
        _draw_gallery(found, options["gallery"], options["roots"])
    if options["confusion"] and found.measured:
        from fewshot.results.report import Confusion

        counts = tuple(tuple(map(int, row)) for row in found.measured.confusion)
        draw_confusion(Confusion(found.measured.names, counts), options["confusion"])


def _draw_gallery(found: "Lookup", path: Path, roots: Sequence[Path]) -> None:
    from fewshot.embeddings.search.query import image_files
    from fewshot.page.gallery import Shown, write_gallery

    index = found.index
    shown = [
        Shown(finding, file, image_files(index.store, [near.row for near in finding.neighbours], roots=roots), truth)
        for finding, file, truth in zip(found.findings, found.queries.files, found.truths, strict=True)
    ]
    layer = f"{index.info.backbone}, layer {index.info.layer}, {index.metric}"
    note = f"{layer}: {len(index)} images of {len(index.counts)} sources."
    drawn = write_gallery(shown, path, title="Nearest images", note=note, warn=_say_missing)
    print_note(f"gallery: {drawn}")


def _say_missing(said: str) -> None:
    print_warning(f"{said} --root FOLDER says where the images of a store lie now")


def draw_confusion(taken: "Confusion", path: Path) -> None:
    """Draw what each source was taken for, in PNG."""
    import numpy as np

    from fewshot.figures.canvas import save_png
    from fewshot.figures.confusion import confusion

    counts = np.array(taken.counts)
    title = f"nearest sources: {100 * np.trace(counts) / counts.sum():.0f} % of {counts.sum()} images right"
    print_note(f"figure: {save_png(confusion(counts, taken.names, title=title), path, option='--confusion')}")
