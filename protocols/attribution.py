"""Single-class attribution with data curves: how little data of one class is enough (arXiv 2603.00717v2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, final

from fewshot.core.errors import OptionError, unknown_name
from fewshot.core.provenance import provenance
from fewshot.draws.seeds import require_seed
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.base import QUIET, Protocol, Result, RunContext
from fewshot.protocols.curve.layers import LayerCurves, run_layers
from fewshot.protocols.curve.model import HELD_OUT
from fewshot.protocols.curve.settings import CurveSettings
from fewshot.protocols.curve.split import SplitRule
from fewshot.protocols.trials.applied import recorded
from fewshot.protocols.trials.layers import require_consistent
from fewshot.protocols.trials.stores_read import StoreRead
from fewshot.reconstruction.training_settings import TrainingSettings
from fewshot.results.report import Report
from fewshot.stats.metrics import FEWEST_NATURAL

REFERENCES = ("linear-probe", "rbf-svm")
_FORMER_HELD_OUT = "carved"  # what reports of earlier versions say


@final
@dataclass(frozen=True)
class Attribution(Protocol):
    """Fit an encoder-decoder on one class at growing shares of the training set, beside references on the same images.

    Args:
        fit_on: the attributed classes: ``natural``, ``synthetic`` or a source's name.
        fractions: shares of the training set; None is the paper's, less those that the set is too small for.
        backbone: which backbone; None when the store has one.
        layer: names of layers; ``fixed`` for the card's, ``all``; ``support-cv`` for the layer that is best, draw by
            draw, on the images held out of each subset; ``oracle`` for the best on query labels.
        where: which images take part.
        train: which of them train, by column; empty is ``split=train`` where the store has that, else a drawn share.
        query: which are queried; empty is every image that does not train (``split=test`` where the store has that).
        train_share: the share drawn for training where no column says it.
        group: images that share a value of this column never stand on both sides of a drawn split.
        validation: ``held-out`` from each subset, ``none``, or ``COLUMN=VALUE``; chooses the step that is kept.
        validation_share: of a subset, when held out.
        references: heads on the same subsets: ``linear-probe``, ``rbf-svm``.
        trials: draws per fraction; None is 5 below 10 %, 3 from there, 1 at 100 %.
        recipe: changes to the defaults of ``TrainingSettings``.
        families: generator -> ``gans``, ``diffusion`` or ``others``, where it is not known or wrong.
        seed: what all draws follow from.
        device: where to train.
        side_by_side: how many trials train at once; results do not depend on it beyond rounding.
        fewest_natural: with fewer natural images in a query set, no TPR at 5 % FPR is given.
    """

    name: ClassVar[str] = "attribution"

    fit_on: tuple[str, ...] = ("natural",)
    fractions: tuple[float, ...] | None = None
    backbone: str | None = None
    layer: tuple[str, ...] = ("fixed",)
    where: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    train_share: float = 0.5
    group: str = "group"
    validation: str = HELD_OUT
    validation_share: float = 0.1
    references: tuple[str, ...] = REFERENCES
    trials: int | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    side_by_side: int = 1
    fewest_natural: int = FEWEST_NATURAL

    def __post_init__(self) -> None:
        for name in self.references:
            if name not in REFERENCES:
                raise unknown_name("reference", name, REFERENCES)
        if self.validation not in (HELD_OUT, "none") and "=" not in self.validation:
            raise OptionError(f"validation is {self.validation!r}; give {HELD_OUT}, none or COLUMN=VALUE")
        if not self.fit_on:
            raise OptionError("nothing to fit on; give natural, synthetic or a source")
        require_consistent(self.layer)
        require_seed(self.seed)
        self._require_shares()
        if "support-cv" in self.layer and self.validation == "none":
            raise OptionError("--layer support-cv chooses on held-out images, and --validation none holds out no image")

    def _require_shares(self) -> None:
        for name in ("train_share", "validation_share"):
            if not 0 < getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; give a share between 0 and 1")
        for share in self.fractions or ():
            if not 0 < share <= 1:
                raise OptionError(f"a fraction is a share in (0, 1], not {share:g}; write for example 0.05% or 1%")
        if self.fractions == () or self.side_by_side < 1 or (self.trials is not None and self.trials < 1):
            raise OptionError("--fractions is empty, or --trials or --side-by-side below 1; leave it out")

    def run(self, store: FeatureStore, context: RunContext = QUIET) -> Result:
        """Run every point that the context's cache does not hold yet, and report all.

        A run repeats its numbers on the same machine: same device, threads and libraries. Elsewhere the training
        rounds differently, and the numbers agree as closely as the curve is steep.

        The scores are those of the main layer, per head, fraction and draw, under ``name_at_point``.

        Raises:
            EpisodeError: a fraction that leaves a cell without an image, or a class without images.
            UnknownNameError: a backbone, layer, source or column that is not there.
        """
        found = run_layers(self.settings(), store, context)
        return Result(self._report(found), found.scores() if context.keep_scores else None)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the protocol of a report's configuration: ``layers`` are those wanted, ``layer`` the main one."""
        wanted = config.get("layers", config.get("layer", cls.layer))
        validation = config.get("validation", HELD_OUT)
        return super().from_config(
            {
                "fewest_natural": 0,  # earlier versions gave rates of any number
                **config,
                "layer": [wanted] if isinstance(wanted, str) else wanted,
                "validation": HELD_OUT if validation == _FORMER_HELD_OUT else validation,
            }
        )

    def settings(self) -> CurveSettings:
        """Return the data curve that this protocol runs."""
        column, _, value = self.validation.partition("=")
        return CurveSettings(
            fit_on=self.fit_on,
            references=self.references,
            fractions=self.fractions,
            trials=self.trials,
            backbone=self.backbone,
            layer=self.layer,
            split=SplitRule(
                where=self.where,
                train=self.train,
                query=self.query,
                validation={column: value} if value else {},
                train_share=self.train_share,
                group=self.group,
                seed=self.seed,
            ),
            holds_out=self.validation == HELD_OUT,
            validation_share=self.validation_share,
            training=self._training_settings(),
            families=self.families,
            seed=self.seed,
            device=self.device,
            side_by_side=self.side_by_side,
            fewest_natural=self.fewest_natural,
        )

    def _training_settings(self) -> TrainingSettings:
        try:
            return TrainingSettings(**self.recipe)
        except TypeError as error:
            raise OptionError(
                f"the recipe is not one of a training ({error}); `fewshot attribute --help` lists what can be set"
            ) from error

    def _report(self, found: LayerCurves) -> Report:
        store, main, rows = found.splits.store, found.main, tuple(found.rows())
        measured = {"backbone": main.key.backbone, "layer": main.key.layer, "fractions": list(main.fractions)}
        read = StoreRead.of(store, [curve.key for curve in found.curves])
        return Report(
            protocol=self.name,
            config=self.to_config()
            | {"layers": list(self.layer), **measured, "stores": [read.to_json()]}
            | {"applied": recorded(found.main.applied())},
            rows=rows,
            supports=main.supports(),
            warnings=found.warnings(rows),
            provenance={**provenance(), "store": store.digest},
        )
