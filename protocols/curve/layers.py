"""Data curves over the layers of a backbone, the layer chosen draw by draw, and the report of all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot.audit import confound_warning
from fewshot.core.errors import OptionError
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.curve.finished_points import FinishedPoint, ResultCache
from fewshot.protocols.curve.models import Model
from fewshot.protocols.curve.run import DataCurve, fingerprint, rows_of
from fewshot.protocols.trials.caveats import oracle_caveats
from fewshot.protocols.trials.layers import CHOSEN, is_reported_fixed, layers_to_score
from fewshot.protocols.trials.pool import random_weights_warning
from fewshot.results.report import Report
from fewshot.results.row import Row

if TYPE_CHECKING:
    from fewshot.protocols.attribution import Attribution


def layers_of(protocol: "Attribution", store: FeatureStore) -> tuple[str, tuple[str, ...]]:
    """Return the backbone that a protocol means in a store, and the layers it scores, the main one first.

    Raises:
        OptionError: several backbones and none named.
        UnknownNameError: no such backbone or layer.
    """
    if protocol.backbone is None and len(store.backbones) != 1:
        raise OptionError(f"the store has the backbones {', '.join(store.backbones)}; choose one by --backbone")
    backbone = protocol.backbone or store.backbones[0]
    return backbone, layers_to_score(store, backbone, protocol.layer)


def result_cache(protocol: "Attribution", store: FeatureStore, folder: Path | None) -> ResultCache:
    """Return the points of the main layer, kept in a folder, or in memory without one."""
    backbone, layers = layers_of(protocol, store)
    return ResultCache(folder, fingerprint(protocol, store, backbone, layers[0]))


def run_layers(protocol: "Attribution", store: FeatureStore, points: ResultCache | None, *, quiet: bool) -> Report:
    """Run the curve of every layer that is wanted, and report layers and choices."""
    backbone, layers = layers_of(protocol, store)
    points = result_cache(protocol, store, None) if points is None else points
    curves = [
        DataCurve(
            protocol, store, points.of(fingerprint(protocol, store, backbone, layer)), backbone=backbone, layer=layer
        )
        for layer in layers
    ]
    with Progress(
        sum(curve.total_steps() for curve in curves), label="attribute", unit="steps", quiet=quiet
    ) as progress:
        for curve in curves:
            curve.complete(progress)
    rows = tuple(_rows(protocol, curves))
    return Report(
        protocol=protocol.name,
        config=_config(protocol, curves),
        rows=rows,
        supports=curves[0].supports(),
        warnings=_warnings(store, curves, rows),
        provenance={**provenance(), "store": store.digest},
    )


def main_layer(report: Report) -> Report:
    """Return the report of the layer that stands first: what tables of the paper and figures are made of."""
    return replace(report, rows=tuple(row for row in report.rows if row.layer == report.config["layer"]))


def _rows(protocol: "Attribution", curves: Sequence[DataCurve]) -> Iterator[Row]:
    main = curves[0]
    default = main.store.default_layer(main.backbone)
    for curve in curves:
        if is_reported_fixed(curve.layer, protocol.layer, default=default):
            yield from curve.rows()
    for selection in CHOSEN:
        if selection in protocol.layer:
            about = {"backbone": main.backbone, "layer": selection, "selection": selection, "dataset": main.dataset}
            for model, fraction in main.plan:
                taken, names = _chosen(curves, model, fraction, selection)
                yield from rows_of(taken, {**about, "fraction": fraction}, names)


def _chosen(
    curves: Sequence[DataCurve], model: Model, fraction: float, selection: str
) -> tuple[list[FinishedPoint], list[str]]:
    """Return the points of the layer that is best in each draw, and these layers; the first among equals."""
    by_layer = [curve.points_at(model, fraction) for curve in curves]
    taken, names = [], []
    for candidates in zip(*by_layer, strict=True):
        best = int(np.argmax([_merit(point, selection) for point in candidates]))
        taken.append(candidates[best])
        names.append(curves[best].layer)
    return taken, names


def _merit(point: FinishedPoint, selection: str) -> float:
    """Return the AUROC that chooses: on the query for the oracle, else on held-out images (0 without any)."""
    if selection == "oracle":
        return point.values["all", "auroc"]
    return point.validation_auroc or 0.0


def _config(protocol: "Attribution", curves: Sequence[DataCurve]) -> dict[str, Any]:
    main = curves[0]
    chosen = {"backbone": main.backbone, "layer": main.layer, "fractions": list(main.fractions)}
    fields = {name: _plain(value) for name, value in asdict(protocol).items()}
    return fields | {"layers": list(protocol.layer)} | chosen


def _warnings(store: FeatureStore, curves: Sequence[DataCurve], rows: Sequence[Row]) -> tuple[str, ...]:
    main = curves[0]
    first = [confound_warning(store, main.images), random_weights_warning(store, [main.backbone])]
    later = [text for curve in curves for text in curve.warnings]
    return tuple(dict.fromkeys([*filter(None, first), *later, *oracle_caveats(rows)]))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value
