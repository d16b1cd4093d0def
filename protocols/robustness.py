"""Robustness: a head fitted on clean images, asked about the same queries after every perturbation in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import InputError, OptionError, unknown_name
from fewshot.core.progress import Progress
from fewshot.core.provenance import provenance
from fewshot.embeddings.schema import CLEAN, LOGIT
from fewshot.embeddings.store import FeatureStore
from fewshot.episodes import Draw, Per
from fewshot.heads.base import HEADS, Head
from fewshot.protocols.base import Protocol
from fewshot.protocols.drawing import draw_all
from fewshot.protocols.material import Material, gather
from fewshot.protocols.measuring import POOLED, measure
from fewshot.report import Report, Row

SHIPPED = "shipped"
FLIP_RATE = "flip_rate"
INPUT_VIEW = "input-"


@dataclass(frozen=True)
class Robustness(Protocol):
    """Measure heads and shipped detectors over views (methods.md 2.5: JPEG 100 to 30, blur 0 to 4, or any other).

    Support and border come from clean images; the queries of a draw are the same under every view, so that the flip
    rate (share of verdicts that differ from those on the clean image) stands beside each measure. In the row of a
    generator it counts that generator's images, in the pooled row all.

    Args:
        head: head names; a detector's own head is measured too wherever the store holds its score. Heads that learn
            their sign (``rigid``, ``minder``) are reported as calibrated and as in their paper.
        view: views besides ``clean``; empty is every view of the store that acts on pixels.
        shots: labelled clean images per class (or source).
        backbone: backbones; all of the store when empty.
        layer: a layer's name; None is each backbone's default.
    """

    name: ClassVar[str] = "robustness"

    head: tuple[str, ...] = ("svm",)
    view: tuple[str, ...] = ()
    shots: int = 10
    trials: int = 100
    seed: int = 0
    per: Per = "class"
    backbone: tuple[str, ...] = ()
    layer: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    device: str = "cpu"

    def run(self, store: FeatureStore, *, quiet: bool = True) -> Report:
        """Run the protocol on a store.

        Raises:
            EpisodeError: too few images for the draw.
            InputError: a store without any perturbed view.
            UnknownNameError: a backbone, layer, head or view is not there.
        """
        backbones = self.backbone or store.backbones
        views = {name: self._views(store, name) for name in backbones}
        if self.trials < 1 or self.shots < 1:
            raise OptionError(f"shots and trials must be at least 1, and are {self.shots} and {self.trials}")
        material = gather(store, backbones=backbones, where=self.where, group=self.group)
        draws = draw_all(material, method="nested", shots=self.shots, trials=self.trials, seed=self.seed, per=self.per)
        rows: list[Row] = []
        work = sum(len(found) for found in views.values()) * len(self.head)
        with Progress(work, label="robustness", unit="views", quiet=quiet) as progress:
            for name in backbones:
                layer = self.layer or store.default_layer(name)
                rows += self._shipped(material, draws, name, views[name])
                for head in self.head:
                    for label, fresh in _heads(head):
                        rows += self._head_rows(material, draws, name, layer, label, fresh, views[name])
                    progress.advance(len(views[name]), note=f"{name} {head}")
        return Report(
            protocol=self.name,
            config=_config(self, store, views),
            rows=tuple(rows),
            supports={str(drawn.trial): material.keys[drawn.support(self.shots)].tolist() for drawn in draws},
            warnings=material.warnings,
            provenance=provenance(),
        )

    def _views(self, store: FeatureStore, backbone: str) -> tuple[str, ...]:
        """Return the views measured, ``clean`` first."""
        there = store.views(backbone)
        for view in self.view:
            if view not in there:
                raise unknown_name(f"view of {backbone} in {store.path}", view, there)
        wanted = [view for view in self.view or there if self.view or INPUT_VIEW not in view]
        perturbed = [view for view in wanted if view != CLEAN]
        if not perturbed:
            raise InputError(
                f"{store.path} holds no perturbed view of {backbone}; add some with "
                f"`fewshot embed ... --view clean,jpeg:90,jpeg:50,blur:1` and run again"
            )
        return (CLEAN, *perturbed)

    def _head_rows(
        self,
        material: Material,
        draws: Sequence[Draw],
        backbone: str,
        layer: str,
        label: str,
        head: Head,
        views: Sequence[str],
    ) -> list[Row]:
        clean = material.for_head(head, backbone, layer)
        supports = np.stack([drawn.support(self.shots) for drawn in draws])
        about = {"backbone": backbone, "layer": layer, "head": label, "n_support": supports.shape[1]}
        reference: FloatArray | None = None
        rows = []
        for view in views:
            scores = self._scores(material, head, clean, material.for_head(head, backbone, layer, view=view), supports)
            reference = scores if reference is None else reference
            rows += _measured(material, draws, scores, reference, {**about, "shots": self.shots, "view": view})
        return rows

    def _scores(
        self, material: Material, head: Head, clean: FloatArray, perturbed: FloatArray, supports: Any
    ) -> FloatArray:
        """Return (T, n) scores of the perturbed images by heads fitted on clean ones.

        Both halves are one pool to the head: supports lie in the first, and the second is what is asked.
        """
        both = np.concatenate([clean, perturbed])
        labels = np.tile(material.pool.synthetic, 2)
        return head.score_draws(both, labels, supports, device=self.device)[:, len(clean) :]

    def _shipped(self, material: Material, draws: Sequence[Draw], backbone: str, views: Sequence[str]) -> list[Row]:
        store, chosen = material.parts[0]
        about = {"backbone": backbone, "layer": LOGIT, "head": SHIPPED, "n_support": 0, "shots": 0}
        reference: FloatArray | None = None
        rows = []
        for view in views:
            if not store.has_logit(backbone, view=view):
                continue
            logit = store.read(chosen, backbone, LOGIT, view=view)[:, 0].astype(np.float64)
            scores = np.broadcast_to(logit, (len(draws), len(logit)))
            reference = scores if reference is None else reference
            rows += _measured(material, draws, scores, reference, {**about, "view": view})
        return rows


def _heads(name: str) -> list[tuple[str, Head]]:
    """Return the head under its name; one whose sign is calibrated also as its paper has it."""
    head: Head = HEADS.load(name)()
    if "direction" not in head.get_params():
        return [(name, head)]
    return [(name, head), (f"{name} (paper)", HEADS.load(name)(direction="paper"))]


def _measured(
    material: Material, draws: Sequence[Draw], scores: FloatArray, clean: FloatArray, about: dict[str, Any]
) -> list[Row]:
    rows = measure(material, draws, scores).rows({**about, "selection": "fixed"})
    flipped = (scores > 0) != (clean > 0)
    places = {(row.dataset, row.source): row.n_query for row in rows}
    for (dataset, source), n_query in places.items():
        of_source = material.pool.synthetic & (material.pool.source == source)
        if source != POOLED and not of_source.any():
            continue
        values = []
        for trial, drawn in enumerate(draws):
            asked = drawn.query if source == POOLED else drawn.query[of_source[drawn.query]]
            asked = asked if dataset == material.title else asked[material.dataset[asked] == dataset]
            values.append(float(flipped[trial, asked].mean()) if len(asked) else float("nan"))
        rows.append(
            Row(
                **about,
                selection="fixed",
                dataset=dataset,
                source=source,
                metric=FLIP_RATE,
                n_query=n_query,
                values=tuple(values),
            )
        )
    return rows


def _config(protocol: Robustness, store: FeatureStore, views: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    fields = asdict(protocol) | {"view": {name: list(found) for name, found in views.items()}, "store": store.digest}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
