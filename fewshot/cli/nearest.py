"""``fewshot nearest``: the known sources that each image is most like."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fewshot.cli.options import STORE, json_option, pairs_option, seed_option, where_option

if TYPE_CHECKING:
    from fewshot.embeddings.index import SourceIndex
    from fewshot.embeddings.lookup import Finding
    from fewshot.embeddings.query import Queries
    from fewshot.protocols.source_measures import ClosedSet


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
    "--unknown-rate",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of known images that may be called unknown; 0 calls nothing unknown.",
)
@click.option("--weights", multiple=True, metavar="NAME=PATH", help="Weight files, as for `fewshot embed`.")
@click.option(
    "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:N", help="Where IMAGES are embedded."
)
@where_option
@seed_option
@json_option
def command(store: Path, images: tuple[Path, ...], query: Path | None, as_json: bool, **options: Any) -> None:
    """Show which known sources IMAGES are most like, with the nearest images of STORE as evidence.

    A source's share is its similarity-weighted vote divided by its number of images, so that a large source does not
    win by its size. An image is `unknown` when its nearest image is farther than is usual within the store.
    """
    if bool(images) == bool(query):
        raise click.UsageError("give IMAGE... or --query STORE, one of the two")
    from fewshot.core.errors import InputError
    from fewshot.embeddings.index import SourceIndex

    index = SourceIndex(
        store,
        backbone=options["backbone"],
        layer=options["layer"],
        metric=options["metric"],
        where=options["where"],
    )
    queries = _queries(index, images, query, options)
    findings = _look_up(index, queries, options)
    measured = _measured(index, queries, findings)
    click.echo(_document(index, queries, findings, measured, options) if as_json else _text(index, findings, measured))
    if queries.failed:
        listed = "; ".join(f"{path}: {reason}" for path, reason in queries.failed[:5])
        raise InputError(f"{len(queries.failed)} images could not be read and have no answer: {listed}")


def _queries(index: "SourceIndex", images: tuple[Path, ...], query: Path | None, options: dict[str, Any]) -> "Queries":
    from fewshot.embeddings.query import from_images, from_store
    from fewshot.embeddings.store import FeatureStore

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


def _look_up(index: "SourceIndex", queries: "Queries", options: dict[str, Any]) -> tuple["Finding", ...]:
    from fewshot.embeddings.lookup import look_up
    from fewshot.embeddings.openset import known_scores
    from fewshot.embeddings.query import own_rows

    known = None
    if options["unknown_rate"]:
        own = own_rows(index.store, index.store, index.rows, group=options["group"])
        known = known_scores(index, leave_out=own, seed=options["seed"])
    return look_up(
        index,
        queries.features,
        queries.images,
        k=options["k"],
        leave_out=queries.leave_out,
        known=known,
        rate=options["unknown_rate"] or 0.05,
    )


def _measured(index: "SourceIndex", queries: "Queries", findings: Sequence["Finding"]) -> "ClosedSet | None":
    """Return the accuracy over the queries whose source is indexed; None when no true source is known."""
    from fewshot.protocols.source_measures import closed_set

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
    measured: "ClosedSet | None",
    options: dict[str, Any],
) -> str:
    import json

    truths = queries.sources or (None,) * len(findings)
    document: dict[str, Any] = {
        "store": str(index.store.path),
        "backbone": index.info.backbone,
        "layer": index.info.layer,
        "layer_digest": index.info.digest,
        "metric": index.metric,
        "k": options["k"],
        "unknown_rate": options["unknown_rate"],
        "indexed": index.counts,
        "images": [
            {**({"truth": truth} if truth else {}), **asdict(finding)}
            for truth, finding in zip(truths, findings, strict=True)
        ],
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


def _text(index: "SourceIndex", findings: Sequence["Finding"], measured: "ClosedSet | None") -> str:
    lines = [line for finding in findings for line in _block(finding)]
    if measured:
        lines += _accuracy(index, measured)
    return "\n".join(lines)


def _block(finding: "Finding") -> list[str]:
    best = finding.sources[0]
    verdict = f"unknown, most like {best.source}" if finding.unknown else best.source
    known = "" if finding.p_value is None else f", p-value {finding.p_value:.3f}"
    lines = [
        f"{finding.image}: {verdict} (share {best.share:.2f}{known})",
        "  source                votes  share  nearest",
    ]
    for source in finding.sources:
        lines.append(f"  {source.source:<20} {source.votes:>6}  {source.share:>5.2f}  {source.nearest:>7.4f}")
    lines.append("  nearest images")
    lines += [f"  {near.score:>7.4f}  {near.source:<20} {near.key}" for near in finding.neighbours]
    return [*lines, ""]


def _accuracy(index: "SourceIndex", measured: "ClosedSet") -> list[str]:
    lines = [
        f"Source accuracy, own pixels left out: {measured.accuracy:.3f} of {measured.queries} images, "
        f"mean over sources {measured.balanced_accuracy:.3f} (chance {1 / len(index.counts):.3f}), "
        f"macro F1 {measured.macro_f1:.3f}",
        "  true source           images  right  most often taken for",
    ]
    for number, name in enumerate(measured.names):
        row = measured.confusion[number].copy()
        images, right = int(row.sum()), int(row[number])
        if not images:
            continue
        row[number] = 0
        other = f"{measured.names[int(row.argmax())]} ({int(row.max())})" if row.any() else "-"
        lines.append(f"  {name:<20}  {images:>6}  {right / images:>5.2f}  {other}")
    return lines
