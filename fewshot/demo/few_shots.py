"""The story of the demo, measured: what a head fitted on one generator misses of another, and few images catch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.demo.deployed import BACKBONE as BACKBONE
from fewshot.demo.deployed import GENERATOR
from fewshot.demo.deployed import HEAD as HEAD
from fewshot.demo.generators import GENERATORS
from fewshot.demo.images import NATURAL
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.across_stores import adapt_and_save
from fewshot.protocols.fiser import adapt
from fewshot.results.report import Report
from fewshot.results.row import Row
from fewshot.stats.metrics import FEWEST_NATURAL

KNOWN, NEW = "autoencoder", GENERATOR  # what the first head is fitted on, and what it has never seen
OTHER_HEAD = "svm"
SHOTS = (2, 5, 10)
BEFORE, AFTER = "known-generator.json", "report.json"


@dataclass(frozen=True)
class FewShots:
    """What heads caught, all measured on the same natural tiles of photographs that they never saw.

    Args:
        before: of a head fitted on every tile of ``KNOWN``, from the photographs that a trial's support comes from.
        after: generator -> of heads fitted on a few tiles of this one alone.
    """

    before: Report
    after: Mapping[str, Report]

    @property
    def metric(self) -> str:
        """The share caught at 5 % false alarms, or AUROC where too few natural tiles are queried for such a share."""
        rows = [*self.before.where(metric="tpr_at_5_fpr"), *self.after[NEW].where(metric="tpr_at_5_fpr")]
        enough = bool(rows) and all((row.n_natural or 0) >= FEWEST_NATURAL for row in rows)
        return "tpr_at_5_fpr" if enough else "auroc"

    @property
    def known_tiles(self) -> int:
        """How many tiles of ``KNOWN`` the first head was fitted on, on average over the trials."""
        return round(float(np.mean([len(keys) / 2 for keys in self.before.supports.values()])))

    @property
    def trials(self) -> int:
        """How many supports were drawn."""
        return len(self.before.supports)

    def missed(self, generator: str) -> Row:
        """Return what the head fitted on ``KNOWN`` catches of a generator."""
        return self.before.where(metric=self.metric, source=generator)[0]

    def caught(self, generator: str, *, head: str = HEAD, shots: int = max(SHOTS)) -> Row:
        """Return what a few tiles of a generator catch of it."""
        return self.after[generator].where(metric=self.metric, source="all", head=head, shots=shots)[0]


def few_shots(store: FeatureStore, folder: Path, *, trials: int, seed: int) -> FewShots:
    """Measure the story on the demo's store, and write the reports of both of its halves.

    Args:
        store: the demo's; folder: where ``BEFORE`` and ``AFTER`` are written, with the scores beside the latter.
        trials: draws of the support. seed: what they follow from.

    Raises:
        EpisodeError: too few tiles.
        OutputError: a report cannot be written.
    """
    options: dict[str, Any] = {"backbone": BACKBONE, "group": "group", "seed": seed}
    drawn: dict[str, Any] = options | {"trials": trials}
    new = adapt_and_save(
        [store.path],
        out=folder / AFTER,
        keep_scores=True,
        where=_against(NEW),
        shots=SHOTS,
        head=(HEAD, OTHER_HEAD),
        **drawn,
    )
    others = {
        name: adapt(store, where=_against(name), shots=max(SHOTS), head=HEAD, **drawn)
        for name in GENERATORS
        if name != NEW
    }
    known = _tiles_of_known(store, new)
    before = adapt_and_save([store.path], out=folder / BEFORE, support=known, head=HEAD, **options)
    return FewShots(before, {name: {NEW: new, **others}[name] for name in GENERATORS})


def _against(generator: str) -> dict[str, str]:
    return {"source": f"{NATURAL},{generator}"}


def _tiles_of_known(store: FeatureStore, drawn: Report) -> list[list[str]]:
    """Return, per trial, the keys of all natural tiles and all of ``KNOWN`` from the photographs of its support.

    So the photographs queried are the same as those of ``drawn``.
    """
    keys, groups = store.column("key"), store.column("group")
    photograph = dict(zip(keys, groups, strict=True))
    taking_part = np.isin(store.source, [NATURAL, KNOWN])
    return [
        [str(key) for key in keys[taking_part & np.isin(groups, sorted({photograph[key] for key in support}))]]
        for support in drawn.supports.values()
    ]
