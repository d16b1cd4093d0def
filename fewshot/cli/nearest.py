"""``fewshot nearest``: the known sources that each image is most like."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.options import STORE, json_option, pairs_option, seed_option, split_numbers, where_option

if TYPE_CHECKING:
    from fewshot.embeddings.search.index import SourceIndex
    from fewshot.embeddings.search.lookup import Finding
    from fewshot.embeddings.search.openset import KnownScores
    from fewshot.embeddings.search.query import Queries
    from fewshot.protocols.trials.source_measures import ClosedSet


_TABLES = {
    "Source of every image, itself left out": [
        "source_accuracy",
        "f1",
        "homophily",
        "balanced_source_accuracy",
        "macro_f1",
    ],
    "A new source from a few images, nothing refitted": ["new_source_recall", "new_source_false_rate"],
    "A source that was left out, told from the known ones": [
        "unknown_auroc",
        "open_set_rate",
        "false_unknown_rate",
        "unknown_rate",
    ],
}


@click.command()
@click.argument("store", type=STORE)
@click.argument("images", type=click.Path(path_type=Path), nargs=-1)
@click.option("--query", type=STORE, help="Look up the images of a whole store; it may be STORE itself.")
@click.option(
    "--query-where",
    multiple=True,
    metavar="COLUMN=VALUE",
    callback=pairs_option,
    help="Which images of --query; as --where when it is STORE itself.",
)
@click.option("--per-source", type=click.IntRange(1), help="At most this many images of each source of --query.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Run the whole experiment on STORE instead, and write its report: accuracy, homophily, few-shot, open set.",
)
@click.option(
    "--shots", default="1,5,10,50", show_default=True, callback=split_numbers, help="Images of a new source, for -o."
)
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, help="Draws, for -o.")
@click.option("--group", metavar="COLUMN", help="Images that share this column's value are no answer to each other.")
@click.option("-k", type=click.IntRange(1), default=5, show_default=True, help="Nearest images that vote.")
@click.option("--backbone", "-b", help="Whose features; may be left out when the store has one backbone.")
@click.option("--layer", help="Which layer; the backbone's own choice by default.")
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
    help="Exact search, or an approximate one whose recall is measured and said.",
)
@click.option("--recall", type=float, default=0.95, show_default=True, help="Recall wanted of an approximate index.")
@click.option(
    "--index-file", type=click.Path(path_type=Path), help="Load the index from here, or build it and save it here."
)
@click.option(
    "--unknown-rate",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of known images that may be called unknown; 0 calls nothing unknown.",
)
@click.option(
    "--gallery", type=click.Path(path_type=Path), help="Draw every query beside its nearest images: .html, .png."
)
@click.option("--confusion", type=click.Path(path_type=Path), help="Draw what each source was taken for: .png.")
@click.option("--weights", multiple=True, metavar="NAME=PATH", help="Weight files, as for `fewshot embed`.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where to compute.")
@where_option
@seed_option
@json_option
def command(store: Path, images: tuple[Path, ...], query: Path | None, as_json: bool, **options: Any) -> None:
    """Show which known sources IMAGES are most like, with the nearest images of STORE as evidence.

    A source's share is its similarity-weighted vote divided by its number of images, so that a large source does not
    win by its size. An image is `unknown` when its nearest image is farther than is usual within the store.
    """
    if sum(map(bool, (images, query, options["output"]))) != 1:
        raise click.UsageError("give IMAGE..., --query STORE or -o REPORT.json, one of the three")
    if options["output"]:
        _experiment(store, as_json, options)
        return
    index = _index(store, options)
    queries = _queries(index, images, query, options)
    known = _known(index, options)
    findings = _look_up(index, queries, known, options)
    measured = _measured(index, queries, findings)
    if as_json:
        click.echo(_document(index, queries, findings, known, measured, options))
    else:
        click.echo(_text(index, findings, known, measured, options["unknown_rate"]))
    for warning in _warnings(index):
        click.echo(f"warning: {warning}", err=True)
    _draw(index, queries, findings, measured, options)
    if queries.failed:
        from fewshot.core.errors import InputError

        listed = "; ".join(f"{path}: {reason}" for path, reason in queries.failed[:5])
        raise InputError(f"{len(queries.failed)} images could not be read and have no answer: {listed}")


def _index(store: Path, options: dict[str, Any]) -> "SourceIndex":
    from fewshot.embeddings.search.index import SourceIndex

    file: Path | None = options["index_file"]
    if file is not None and file.exists():
        index = SourceIndex.load(store, file, device=options["device"])
        _require_asked(index, file, options)
        return index
    index = SourceIndex(
        store,
        backbone=options["backbone"],
        layer=options["layer"],
        metric=options["metric"],
        where=options["where"] or None,
        index=options["kind"],
        recall=options["recall"],
        device=options["device"],
        seed=options["seed"],
    )
    if options["kind"] != "flat":
        click.echo(f"index: {index.choice}", err=True)
    if file is not None:
        click.echo(f"index saved as {index.save(file)}", err=True)
    return index


def _require_asked(index: "SourceIndex", file: Path, options: dict[str, Any]) -> None:
    """Refuse a saved index of something else than the options name; options left at their default name nothing."""
    from click.core import ParameterSource

    from fewshot.core.errors import OptionError

    context = click.get_current_context()
    saved = {
        "backbone": index.info.backbone,
        "layer": index.info.layer,
        "metric": index.metric,
        "kind": index.choice.kind,
        "where": dict(index.indexed.where or {}),
    }
    for name, value in saved.items():
        given = context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)
        if given and not (name == "kind" and options[name] == "auto") and (options[name] or None) != (value or None):
            option = {"kind": "index"}.get(name, name)
            raise OptionError(
                f"the index {file} is of --{option} {value or 'none'}, and --{option} {options[name]} was asked for; "
                f"leave --{option} out, or give another --index-file"
            )


def _experiment(store: Path, as_json: bool, options: dict[str, Any]) -> None:
    import json

    from fewshot.embeddings.store.reader import FeatureStore
    from fewshot.protocols.nearest import Nearest

    result = Nearest(
        shots=options["shots"],
        rate=options["unknown_rate"],
        **{name: options[name] for name in ("backbone", "layer", "where", "group", "metric", "k", "trials", "seed")},
    ).measure(FeatureStore(store))
    report = result.report
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        for title, metrics in _TABLES.items():
            click.echo(f"{title}\n\n{report.table(metrics)}\n")
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"report written to {report.save(options['output'])}", err=True)
    if options["confusion"]:
        _draw_confusion(result.closed, options["confusion"])


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


def _known(index: "SourceIndex", options: dict[str, Any]) -> "KnownScores | None":
    from fewshot.embeddings.search.openset import known_scores
    from fewshot.embeddings.search.query import own_rows

    if not options["unknown_rate"]:
        return None
    own = own_rows(index.store, index.store, index.rows, group=options["group"])
    return known_scores(index, leave_out=own, seed=options["seed"])


def _look_up(
    index: "SourceIndex", queries: "Queries", known: "KnownScores | None", options: dict[str, Any]
) -> tuple["Finding", ...]:
    from fewshot.embeddings.search.lookup import look_up

    return look_up(
        index,
        queries.features,
        queries.images,
        k=options["k"],
        leave_out=queries.leave_out,
        known=known,
        rate=options["unknown_rate"],
    )


def _warnings(index: "SourceIndex") -> list[str]:
    from fewshot.audit import confound_warning

    told = confound_warning(index.store, index.rows)
    return [told] if told else []


def _measured(index: "SourceIndex", queries: "Queries", findings: Sequence["Finding"]) -> "ClosedSet | None":
    """Return the accuracy over the queries whose source is indexed; None when no true source is known."""
    from fewshot.protocols.trials.source_measures import closed_set

    known = [
        (truth, finding.source)
        for truth, finding in zip(queries.sources, findings, strict=bool(queries.sources))
        if truth in index.counts
    ]
    return closed_set([truth for truth, _ in known], [answer for _, answer in known]) if known else None


def _document(
    index: "SourceIndex",
    queries: "Queries",
    findings: Sequence["Finding"],
    known: "KnownScores | None",
    measured: "ClosedSet | None",
    options: dict[str, Any],
) -> str:
    import json
    from math import isfinite

    truths = queries.sources or (None,) * len(findings)
    threshold = known.threshold(options["unknown_rate"]) if known else float("-inf")
    document: dict[str, Any] = {
        "store": str(index.store.path),
        "backbone": index.info.backbone,
        "layer": index.info.layer,
        "layer_digest": index.info.digest,
        "metric": index.metric,
        "k": options["k"],
        "index": str(index.choice),
        "unknown_rate": options["unknown_rate"],
        "unknown_below": threshold if isfinite(threshold) else None,
        "indexed": index.counts,
        "images": [
            {**({"truth": truth} if truth else {}), **asdict(finding)}
            for truth, finding in zip(truths, findings, strict=True)
        ],
        "warnings": _warnings(index),
        "failed": [{"image": path, "reason": reason} for path, reason in queries.failed],
    }
    if measured:
        document["leave_one_out"] = {
            "queries": measured.queries,
            "accuracy": measured.accuracy,
            "balanced_accuracy": measured.balanced_accuracy,
            "macro_f1": measured.macro_f1,
            "sources": list(measured.names),
            "confusion": measured.confusion.tolist(),
        }
    return json.dumps(document, indent=1)


def _text(
    index: "SourceIndex",
    findings: Sequence["Finding"],
    known: "KnownScores | None",
    measured: "ClosedSet | None",
    rate: float,
) -> str:
    from fewshot.embeddings.search.neighbours import spoken_score

    parts = [_block(finding) for finding in findings]
    if known:
        threshold = known.threshold(rate)
        below = f"below {spoken_score(threshold)}" if threshold > float("-inf") else "never: too few images to say so"
        parts.append(
            f"unknown: nearest score {below} (of {len(known.scores)} images of the store, each against the others, "
            f"at most {100 * rate:g} % lie there)"
        )
    return "\n\n".join([*parts, *([_accuracy(index, measured)] if measured else [])])


def _block(finding: "Finding") -> str:
    from fewshot.embeddings.search.neighbours import spoken_score
    from fewshot.results.tables import text_table

    best = finding.sources[0]
    verdict = f"unknown, most like {best.source}" if finding.unknown else best.source
    known = "" if finding.p_value is None else f", p-value {finding.p_value:.3f}"
    sources = [[one.source, str(one.votes), f"{one.share:.2f}", spoken_score(one.nearest)] for one in finding.sources]
    near = [[spoken_score(one.score), one.source, one.key] for one in finding.neighbours]
    tables = [
        text_table(["source", "votes", "share", "nearest"], sources),
        text_table(["score", "source", "nearest images"], near),
    ]
    return "\n\n".join([f"{finding.image}: {verdict} (share {best.share:.2f}{known})", *tables])


def _accuracy(index: "SourceIndex", measured: "ClosedSet") -> str:
    from fewshot.results.tables import text_table

    lines = []
    for number, name in enumerate(measured.names):
        row = measured.confusion[number].copy()
        images, right = int(row.sum()), int(row[number])
        row[number] = 0
        other = f"{measured.names[int(row.argmax())]} ({int(row.max())})" if row.any() else "-"
        if images:
            lines.append([name, str(images), f"{right / images:.2f}", other])
    return (
        f"Source accuracy, own pixels left out: {measured.accuracy:.3f} of {measured.queries} images, "
        f"mean over sources {measured.balanced_accuracy:.3f} (chance {1 / len(index.counts):.3f}), "
        f"macro F1 {measured.macro_f1:.3f}\n\n"
        + text_table(["true source", "images", "right", "most often taken for"], lines)
    )


def _draw(
    index: "SourceIndex",
    queries: "Queries",
    findings: Sequence["Finding"],
    measured: "ClosedSet | None",
    options: dict[str, Any],
) -> None:
    if options["gallery"]:
        from fewshot.embeddings.search.query import image_files
        from fewshot.page.gallery import Shown, write_gallery

        truths = queries.sources or (None,) * len(findings)
        shown = [
            Shown(finding, file, image_files(index.store, [near.row for near in finding.neighbours]), truth)
            for finding, file, truth in zip(findings, queries.files, truths, strict=True)
        ]
        place = f"{index.info.backbone}, layer {index.info.layer}, {index.metric}"
        note = f"{place}: {len(index)} images of {len(index.counts)} sources."
        click.echo(f"gallery: {write_gallery(shown, options['gallery'], title='Nearest images', note=note)}", err=True)
    if options["confusion"] and measured:
        _draw_confusion(measured, options["confusion"])


def _draw_confusion(measured: "ClosedSet", path: Path) -> None:
    from fewshot.figures.canvas import save_png
    from fewshot.figures.confusion import confusion

    title = f"nearest sources: {100 * measured.accuracy:.0f} % of {measured.queries} images right"
    click.echo(f"figure: {save_png(confusion(measured.confusion, measured.names, title=title), path)}", err=True)
