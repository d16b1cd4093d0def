"""What a data curve needs to know, whatever protocol asks for it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fewshot.core.errors import OptionError
from fewshot.draws.fractions import PAPER_FRACTIONS, smallest_fraction
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.curve.split import Split, SplitRule
from fewshot.protocols.trials.layers import keys_to_score
from fewshot.reconstruction.training_settings import TrainingSettings
from fewshot.stats.metrics import FEWEST_NATURAL

_HOW_IT_IS_COMPUTED = ("side_by_side", "fit_on", "references", "fractions", "trials", "backbone", "layer")


@dataclass(frozen=True)
class CurveSettings:
    """A data curve: which classes are attributed, at which shares, on which images.

    Args:
        fit_on: the attributed classes: ``natural``, ``synthetic`` or a source's name.
        references: heads on the same subsets: ``linear-probe``, ``rbf-svm``.
        fractions: shares of the training set; None is the paper's, less those that the set is too small for.
        trials: draws per fraction; None is 5 below 10 %, 3 from there, 1 at 100 %.
        backbone: which backbone; None when the store has one. layer: names of layers, and how one is chosen.
        split: how the store is divided.
        holds_out: whether a part of each subset is held out to choose the step that is kept. Where a column names the
            validation images, only a variant of each model at the smallest share holds some out.
        validation_share: of a subset, when held out.
        training: how encoder-decoders and classifiers are trained.
        families: generator -> family, where it is not known or wrong.
        seed: what all draws follow from.
        fewest_natural: with fewer natural images in a query set, no TPR at 5 % FPR is given.
        device: where to train. side_by_side: how many trials train at once.
    """

    fit_on: tuple[str, ...] = ("natural",)
    references: tuple[str, ...] = ()
    fractions: tuple[float, ...] | None = None
    trials: int | None = None
    backbone: str | None = None
    layer: tuple[str, ...] = ("fixed",)
    split: SplitRule = field(default_factory=SplitRule)
    holds_out: bool = True
    validation_share: float = 0.1
    training: TrainingSettings = field(default_factory=TrainingSettings)
    families: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    side_by_side: int = 1
    fewest_natural: int = FEWEST_NATURAL

    @property
    def chooses_by_validation(self) -> bool:
        """Whether the layer is chosen on held-out images, so that every model must be validated there."""
        return "support-cv" in self.layer

    def keys(self, store: FeatureStore) -> tuple[LayerKey, ...]:
        """Return the layers that are scored, the main one first.

        Raises:
            OptionError: several backbones and none named.
            UnknownNameError: no such backbone or layer.
        """
        if self.backbone is None and len(store.backbones) != 1:
            raise OptionError(f"the store has the backbones {', '.join(store.backbones)}; choose one by --backbone")
        return keys_to_score(store, self.backbone or store.backbones[0], self.layer)

    def trials_at(self, fraction: float) -> int:
        """Return the number of draws: 5 seeds below 10 %, 3 at 10 %, 1 at 100 %; the paper gives none."""
        if self.trials is not None:
            return self.trials
        return 5 if fraction < 0.1 else 3 if fraction < 1 else 1

    def fractions_of(self, divided: Split) -> tuple[float, ...]:
        """Return the shares of a training set, ascending."""
        if self.fractions is not None:
            return tuple(sorted(set(self.fractions)))
        least = smallest_fraction(divided.cells)
        return tuple(share for share in PAPER_FRACTIONS if share >= least)

    def fingerprint(self, store: FeatureStore, key: LayerKey) -> dict[str, Any]:
        """Return what every point depends on: these settings, but for how they are computed, and the features."""
        settings = {name: value for name, value in asdict(self).items() if name not in _HOW_IT_IS_COMPUTED}
        validates, digest = self.chooses_by_validation, store.info(key.backbone, key.layer).digest
        return {**settings, "chooses_by_validation": validates, "features": digest}
