"""From a fitted model to a finished point: scores of the query, measured per generator, family and pooled."""

import hashlib
from dataclasses import dataclass

import numpy as np

from fewshot.core.arrays import BoolArray, FloatArray, IntArray
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.curve.finished_points import FinishedPoint
from fewshot.protocols.curve.generator_families import add_means, count, family_of, measure, query_sets
from fewshot.protocols.curve.model import FittedModel, Model, Subset
from fewshot.protocols.curve.settings import CurveSettings
from fewshot.protocols.curve.split import Split
from fewshot.stats.metrics import Ranked

METRICS = (
    "average_precision",
    "accuracy",
    "f1",
    "natural_accuracy",
    "synthetic_accuracy",
    "auroc",
    "tpr_at_5_fpr",
)
# accuracy at the score that 5 % of the natural validation images exceed
AT_VALIDATION_THRESHOLD = "accuracy_at_validation_5_fpr"
VALIDATION_FPR = 0.05


@dataclass(frozen=True)
class Measurement:
    """Measures models on the query of a division of one store."""

    store: FeatureStore
    settings: CurveSettings
    divided: Split

    def point(self, model: Model, subset: Subset, fitted: FittedModel) -> FinishedPoint:
        """Return what a model that was fitted on a subset leaves behind."""
        query = self.divided.query
        scored, synthetic = fitted.score(query), self.store.synthetic[query]
        sets = query_sets(self.store.source[query], synthetic, self.store.column("dataset")[query])
        families = {queried.source: family_of(queried.source, self.settings.families) for queried in sets[1:]}
        least = self.settings.fewest_natural
        measured = measure(scored.scores, synthetic, sets, METRICS, fewest_natural=least)
        threshold = self._validation_threshold(subset, fitted)
        if threshold is not None:
            measured |= {
                (queried.source, AT_VALIDATION_THRESHOLD): _accuracy(
                    scored.scores[queried.chosen], synthetic[queried.chosen], threshold
                )
                for queried in sets
            }
        own = {("all", metric): value for metric, value in scored.measures.items()}
        return FinishedPoint(
            head=fitted.head,
            values=add_means(measured, families) | own,
            n_query=count(sets, families, np.ones_like(synthetic)),
            n_natural=count(sets, families, ~synthetic),
            n_support=len(subset.rows),
            support=_digest(subset.rows),
            steps=fitted.steps,
            kept_step=fitted.kept_step,
            validation_auroc=self._validation_auroc(model, subset, fitted),
            warnings=fitted.warnings,
            arrays={"rows": query, "scores": scored.scores.astype(np.float32), **scored.arrays},
        )

    def _validation_threshold(self, subset: Subset, fitted: FittedModel) -> float | None:
        """Return the score that 5 % of the natural validation images exceed; None without any.

        A head without steps trains on all of the subset, so that nothing of it is left to set a threshold on.
        """
        if not fitted.steps:
            return None
        natural = subset.validation[~self.store.synthetic[subset.validation]]
        return float(np.quantile(fitted.score(natural).scores, 1 - VALIDATION_FPR)) if len(natural) else None

    def _validation_auroc(self, model: Model, subset: Subset, fitted: FittedModel) -> float | None:
        """Return the AUROC on the images held out of the subset; None where it is not needed or they lack a class."""
        synthetic = self.store.synthetic[subset.validation]
        if not self.settings.chooses_by_validation or synthetic.all() or not synthetic.any():
            return None
        scores = model.refit_without_validation(subset, fitted).score(subset.validation).scores
        return Ranked.of(scores, synthetic).auroc()


def _accuracy(scores: FloatArray, synthetic: BoolArray, threshold: float) -> float:
    return float(np.mean((scores > threshold) == synthetic))


def _digest(rows: IntArray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
