"""Who takes part in the duel: heads on one layer, on two side by side, on all that a store holds; and what each trains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fewshot.core.arrays import FloatArray, IntArray
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS, Head
from fewshot.heads.transductive import TransductiveHead
from fewshot.protocols.trials.head_solver import BATCHED
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.protocols.trials.trials import Trials

CONTENT = "timm:vit_small_patch14_dinov2.lvd142m@224"  # stands in for the branch that Fleet takes DINOv3 for
SIGNAL = "ferretnet"  # and this for its Xception on high frequencies
STRONGEST = "torchvision:mobilenet_v2"  # of the single ones, on the published tables of docs/results.md
SINGLE = ("svm", "linear-svm", "logistic", "lda", "prototype", "euclid", "knn", "tip-adapter")
UNLABELLED = ("soft-kmeans", "laplacian")
CLOSED, SOLVED = "closed form", "to the optimum"


@dataclass(frozen=True)
class Method:
    """One way to use a support.

    Args:
        head_name: of the head; options: its parameters.
        keys: the layers it looks at, side by side.
        looks_at: them, in a word for the table.
        replays: whether rows of the old domain are fitted on as well.
        refits: whether it is quick enough to be fitted again for every fold of a support.
        steps: how it is fitted.
    """

    head_name: str
    keys: tuple[LayerKey, ...]
    looks_at: str
    replays: bool = False
    refits: bool = True
    steps: str = SOLVED
    parameters: str = ""
    options: tuple[tuple[str, Any], ...] = field(default=())

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.head_name} + replay" if self.replays and self.head_name != "route" else self.head_name

    def head(self) -> Head:
        """Return the head, not fitted."""
        head: Head = HEADS.load(self.head_name)(**dict(self.options))
        return head

    def features(self, pool: EvaluationPool) -> FloatArray:
        """Return (n, D): every layer as the head wants it, side by side."""
        return np.concatenate([pool.for_head(self.head(), key) for key in self.keys], axis=1)

    def scores(self, features: FloatArray, trials: Trials, supports: IntArray, replay: IntArray) -> FloatArray:
        """Return (T, n) scores of heads fitted on supports (T, s), and on the rows of replay where it replays."""
        head = self.head()
        if isinstance(head, TransductiveHead):
            return head.score_draws_with(features, trials.synthetic, supports, trials.query_mask())
        if self.replays:
            supports = np.concatenate([supports, np.broadcast_to(replay, (len(supports), len(replay)))], axis=1)
        return BATCHED.score_supports(head, features, trials.synthetic, supports)

    def before(self, features: FloatArray, trials: Trials, replay: IntArray) -> FloatArray | None:
        """Return (n,) scores of the method that knows the old domain alone; None where it never looked at it."""
        if not self.replays:
            return None
        return BATCHED.score_supports(self.head(), features, trials.synthetic, replay[None])[0]
