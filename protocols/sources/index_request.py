"""Which index a user wants of a store: built anew, or loaded from a file that holds just that."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fewshot.core.errors import OptionError
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.indexed_layer import Metric
from fewshot.embeddings.store.reader import FeatureStore

_OPTIONS = {"kind": "index"}


@dataclass(frozen=True)
class IndexRequest:
    """What is indexed and how.

    Args:
        backbone, layer: whose features; the only backbone and its default layer when None.
        metric: how nearness is measured.
        where: which images are indexed.
        kind: exact search (``flat``) or an approximate one. recall: wanted of the latter.
        device: where it is searched.
        seed: of what is drawn to build it.
    """

    backbone: str | None = None
    layer: str | None = None
    metric: Metric = "cosine"
    where: Mapping[str, str] = field(default_factory=dict)
    kind: str = "flat"
    recall: float = 0.95
    device: str = "auto"
    seed: int = 0

    def build(self, store: FeatureStore | Path) -> SourceIndex:
        """Build the index of a store."""
        return SourceIndex(
            store,
            backbone=self.backbone,
            layer=self.layer,
            metric=self.metric,
            where=self.where or None,
            index=self.kind,
            recall=self.recall,
            device=self.device,
            seed=self.seed,
        )

    def load(self, store: FeatureStore | Path, file: Path, *, named: Collection[str]) -> SourceIndex:
        """Load the index from a file.

        Args:
            named: the fields that the user named; the others fit any index.

        Raises:
            OptionError: the file holds an index of something else than the named fields say.
        """
        index = SourceIndex.load(store, file, device=self.device)
        saved = {
            "backbone": index.info.backbone,
            "layer": index.info.layer,
            "metric": index.metric,
            "kind": index.choice.kind,
            "where": dict(index.indexed.where or {}),
        }
        for name, value in saved.items():
            wanted = getattr(self, name)
            if name not in named or (name == "kind" and wanted == "auto") or (wanted or None) == (value or None):
                continue
            option = _OPTIONS.get(name, name)
            raise OptionError(
                f"the index {file} is of --{option} {value or 'none'}, and --{option} {wanted} is wanted; "
                f"leave --{option} out, or give another --index-file"
            )
        return index
