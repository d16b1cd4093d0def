"""Who takes part in the duel: heads on one layer, on two side by side, on all that a store holds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot.core.arrays import FloatArray, IntArray
from fewshot.embeddings.layer_key import LayerKey
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.heads.base import HEADS, Head
from fewshot.heads.transductive import TransductiveHead
from fewshot.protocols.trials.head_solver import BATCHED, HeadSolver
from fewshot.protocols.trials.pool import EvaluationPool
from fewshot.protocols.trials.trials import Trials

CONTENT = "timm:vit_small_patch14_dinov2.lvd142m@224"  # stands in for the branch that Fleet takes DINOv3 for
SIGNAL = "ferretnet"  # and this for its Xception on high frequencies
STRONGEST = "torchvision:mobilenet_v2"  # of the single ones, on the published tables of docs/results.md
SINGLE = ("svm", "linear-svm", "logistic", "lda", "prototype", "euclid", "knn", "tip-adapter")
UNLABELLED = ("soft-k-means", "laplacian-shot")
MOST_AT_ONCE = 60
CLOSED, SOLVED = "closed form", "to the optimum"
CLOSED_FORM = {"lda", "prototype", "euclid", "knn", "tip-adapter", *UNLABELLED}
KEPT_IMAGES = {"support_vectors_", "support_", "positive_", "keys_", "values_", "unlabelled_", "counts_"}
ROUTE_SIZES = (
    ("width", 256),
    ("hidden", 256),
    ("embedding", 128),
    ("replay_per_class", 100),
)  # our two branches have 384 and 128 columns


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
    options: tuple[tuple[str, Any], ...] = ()

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
        head = self._knowing(self.head(), features, trials, replay)
        if isinstance(head, TransductiveHead):
            return head.score_draws_with(features, trials.synthetic, supports, trials.query_mask())
        if self.replays and not head.takes_replay:
            supports = np.concatenate([supports, np.broadcast_to(replay, (len(supports), len(replay)))], axis=1)
        return _solver(supports).score_supports(head, features, trials.synthetic, supports)

    def before(self, features: FloatArray, trials: Trials, replay: IntArray) -> FloatArray | None:
        """Return (n,) scores of the method that knows the old domain alone; None where it never looked at it."""
        if not self.replays:
            return None
        head = self._knowing(self.head(), features, trials, replay)
        if head.takes_replay:
            head.set_params(epochs=0)
        (scores,) = _solver(replay[None]).score_supports(head, features, trials.synthetic, replay[None])
        return np.asarray(scores)

    def trained(self, features: FloatArray, trials: Trials, support: IntArray, replay: IntArray) -> int:
        """Return how many numbers a fit sets, without the images that it keeps as they are."""
        head = self._knowing(self.head(), features, trials, replay)
        rows = np.concatenate([support, replay]) if self.replays and not head.takes_replay else support
        state = head.fit(features[rows], trials.synthetic[rows].astype(np.int64)).state()
        return sum(array.size for name, array in state.arrays.items() if name not in KEPT_IMAGES)

    def _knowing(self, head: Head, features: FloatArray, trials: Trials, replay: IntArray) -> Head:
        """Return the head with the replay rows in hand, where it takes some."""
        if not (self.replays and head.takes_replay):
            return head
        knowing: Head = head.with_replay(features[replay], trials.synthetic[replay])
        return knowing


def methods_of(store: FeatureStore) -> tuple[Method, ...]:
    """Return who takes part, given what a store holds.

    Raises:
        InputError: a backbone of the duel is not in the store.
    """
    strongest = (_default(store, STRONGEST),)
    both = (_default(store, CONTENT), _default(store, SIGNAL))
    every = tuple(_default(store, name) for name in store.backbones)
    found = []
    for keys, looks_at in ((strongest, "mobilenet_v2"), (both, "ViT-S, ferretnet")):
        found += [Method(name, keys, looks_at, steps=_steps(name)) for name in (*SINGLE, *UNLABELLED)]
        found.append(Method("svm", keys, looks_at, replays=True))
    found += [_fused(store, both, "ViT-S, ferretnet"), _fused(store, every, f"all {len(every)}")]
    route = (*ROUTE_SIZES, ("signal_columns", store.info(both[1].backbone, both[1].layer).dimension))
    steps = "200 before, 20 epochs"
    found.append(Method("route", both, "ViT-S, ferretnet", replays=True, refits=False, steps=steps, options=route))
    return tuple(found)


def _solver(supports: IntArray) -> HeadSolver:
    """Return what fits quickest: few images of many draws all at once, hundreds of images one draw after another."""
    return BATCHED if supports.shape[1] <= MOST_AT_ONCE else HeadSolver("sklearn")


def _fused(store: FeatureStore, keys: tuple[LayerKey, ...], looks_at: str) -> Method:
    widths = tuple(store.info(key.backbone, key.layer).dimension for key in keys)
    return Method("fused", keys, looks_at, options=(("widths", widths),))


def _default(store: FeatureStore, backbone: str) -> LayerKey:
    return LayerKey(backbone, store.default_layer(backbone))


def _steps(head: str) -> str:
    return CLOSED if head in CLOSED_FORM else SOLVED
