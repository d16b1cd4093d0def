"""Which features a report was made from: where each store lies and the digests of the layers that were read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fewshot.core.errors import StoreError
from fewshot.embeddings.layer_key import CLEAN, LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.results.report import Report

WHOLE_STORE = "the store as a whole"


@dataclass(frozen=True)
class StoreRead:
    """One store that a report was made from.

    Args:
        path: where it lay; None where an earlier version did not record it.
        layers: ``backbone/layer``, with ``@view`` unless the view is clean -> digest of the values read.
        digest: of the whole store, where an earlier version recorded that alone; else empty.
    """

    path: str | None
    layers: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def of(cls, store: FeatureStore, keys: Iterable[LayerKey]) -> "StoreRead":
        """Return what reading these layers of a store depends on; a layer that the store lacks is left out."""
        there = _digests(store)
        return cls(str(store.path), {str(key): there[str(key)] for key in dict.fromkeys(keys) if str(key) in there})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: path and layers."""
        return {"path": self.path, "layers": dict(self.layers)}

    def changes(self, store: FeatureStore) -> tuple[str, ...]:
        """Return what is not as it was: layers, or ``WHOLE_STORE`` where no layer was recorded.

        Raises:
            StoreError: a layer is not there any more.
        """
        now = _digests(store)
        for name in self.layers:
            if name not in now:
                raise StoreError(
                    f"{store.path} has no layer {name!r}, which the report was made from; embed it again, or name "
                    f"another store"
                )
        changed = tuple(name for name, digest in self.layers.items() if now[name] != digest)
        return (WHOLE_STORE,) if self.digest and self.digest != store.digest else changed


def stores_read(report: Report, config: Mapping[str, Any]) -> tuple[StoreRead, ...]:
    """Return the stores of one run of a report; empty where nothing is recorded.

    Args:
        config: of the run; the report's own unless it joins several.
    """
    if "stores" in config:
        return tuple(StoreRead(entry["path"], entry["layers"]) for entry in config["stores"])
    made = report.provenance
    if "layers" in made:  # nearest, before all protocols recorded the same
        view = "" if config.get("view", CLEAN) == CLEAN else f"@{config['view']}"
        return (StoreRead(made.get("store"), {f"{name}{view}": digest for name, digest in made["layers"].items()}),)
    digest = config.get("store", made.get("store"))  # robustness and attribution, before they did
    return (StoreRead(None, digest=digest),) if digest else ()


def _digests(store: FeatureStore) -> dict[str, str]:
    return {str(LayerKey(info.backbone, info.layer, info.view)): info.digest for info in store.layers}
