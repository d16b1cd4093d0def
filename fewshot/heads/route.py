"""Fleet's adaptation on cached features: a routing between two branches, moved by a few images beside replayed ones."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.core.errors import OptionError, WeightsError
from fewshot.embeddings.networks.routing import RoutedEmbedding, RoutingSizes
from fewshot.embeddings.training.fleet_adaptation import (
    AdaptationSettings,
    LabelledImages,
    PretrainingSettings,
    adapt,
    pretrain,
    reference_of,
)
from fewshot.heads.base import Head
from fewshot.heads.state import Learned

_PARTS = ("xception_fc.", "routing.", "projection.")
_PROTOTYPES = ("fake_prototype", "real_prototype")
_COLUMNS = ("offset", "scale")


class Route(Head):
    """Move Fleet's routing and embedding to a new generator, its two prototypes staying where they are.

    Fleet (ICML 2026, arXiv 2606.31082), ICTMCG/Fleet @ fab6b41, on cached features: the Linear layer behind the
    Xception, the routing and the projection learn; both branches stay frozen, and each image is seen in one crop. A
    step takes the whole support and a batch of replayed images, whose embeddings are held by distillation. The score is
    the cosine to the synthetic prototype minus that to the natural one; the support moves neither, nor the threshold.

    What is replayed comes by ``with_replay`` (``adapt --replay-where``); without it the support is replayed to itself.
    The start is Fleet's own file or a saved head of this kind. Without one, columns are standardised over the replay,
    and the module is pretrained on it by Fleet's pretraining losses: no part of Fleet, and it needs no gated weights.
    Prototypes that the start does not hold are the replay's mean embeddings before the adaptation.

    Theirs differs where it seems a defect: they skip the training after a look at the query's labels, hold
    embeddings in train mode (dropout, another crop) against those in eval mode, and fail on a class of one image.

    Args:
        start: path of a checkpoint or safetensors file with ``xception_fc``, ``routing`` and ``projection``.
        signal_columns: without a start, how many of the last columns are the signal that routes the others (2,048 of
            the layer ``branches`` of ``fleet``); 0 lets all columns be both.
        width, segments, hidden, embedding: sizes without a start, Fleet's own by default.
        epochs, epochs_without_contrast, contrast, distillation, avoidance, batch_size, learning_rate, weight_decay: as
            in ``AdaptationSettings``.
        replay_per_class: the most images of each class that are replayed, drawn at random.
        dropout: while training; theirs is 0.1.
        pretraining_steps, pretraining_learning_rate: without a start; theirs stops after 2,000 steps at the latest.
        random_state: seed of the draw, the first weights and the order.

    Attributes:
        arrays_: name -> all that the scores are computed from, float32.
    """

    name: ClassVar[str] = "route"
    raw: ClassVar[bool] = True
    takes_replay: ClassVar[bool] = True
    learned: ClassVar[Mapping[str, Learned]] = {
        "offset": Learned("D"),
        "scale": Learned("D"),
        "xception_fc.weight": Learned("w s"),
        "xception_fc.bias": Learned("w"),
        "routing.q_proj.0.weight": Learned("h w"),
        **{f"routing.q_proj.{name}": Learned("h") for name in ("0.bias", "1.weight", "1.bias")},
        "routing.q_proj.4.weight": Learned("q h"),
        "routing.q_proj.4.bias": Learned("q"),
        "routing.k_proj.weight": Learned("w f"),
        "routing.k_proj.bias": Learned("w"),
        "routing.v_proj.weight": Learned("w f"),
        "routing.v_proj.bias": Learned("w"),
        "routing.out_proj.weight": Learned("w w"),
        "routing.out_proj.bias": Learned("w"),
        "projection.0.weight": Learned("p w"),
        **{f"projection.{name}": Learned("p") for name in ("0.bias", "1.weight", "1.bias")},
        "projection.4.weight": Learned("e p"),
        "projection.4.bias": Learned("e"),
        "fake_prototype": Learned("e"),
        "real_prototype": Learned("e"),
    }
    arrays_: Mapping[str, NDArray[Any]]
    _replay: "_Replay | None" = None

    def __init__(  # noqa: PLR0913  # scikit-learn: one parameter per choice
        self,
        *,
        start: str = "",
        signal_columns: int = 0,
        width: int = 1024,
        segments: int = 8,
        hidden: int = 512,
        embedding: int = 256,
        epochs: int = 20,
        epochs_without_contrast: int = 5,
        contrast: float = 5.0,
        distillation: float = 10.0,
        avoidance: float = 20.0,
        batch_size: int = 32,
        learning_rate: float = 3e-5,
        weight_decay: float = 0.01,
        replay_per_class: int = 500,
        dropout: float = 0.0,
        pretraining_steps: int = 200,
        pretraining_learning_rate: float = 1e-4,
        random_state: int = 0,
    ) -> None:
        self.start = start
        self.signal_columns = signal_columns
        self.width = width
        self.segments = segments
        self.hidden = hidden
        self.embedding = embedding
        self.epochs = epochs
        self.epochs_without_contrast = epochs_without_contrast
        self.contrast = contrast
        self.distillation = distillation
        self.avoidance = avoidance
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.replay_per_class = replay_per_class
        self.dropout = dropout
        self.pretraining_steps = pretraining_steps
        self.pretraining_learning_rate = pretraining_learning_rate
        self.random_state = random_state

    def with_replay(self, features: FloatArray, synthetic: BoolArray) -> Self:
        """Return an unfitted copy that replays rows (r, D) of both classes whenever it is fitted."""
        head = self.unfitted()
        head._replay = _Replay(np.asarray(features, dtype=np.float32), np.asarray(synthetic, dtype=bool))
        return head

    def unfitted(self) -> Self:
        """Return a new head with the same parameters and replay."""
        head = super().unfitted()
        if self._replay is not None:
            head._replay = self._replay
        return head

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Adapt to the support: (n, D) floating, (n,) two classes.

        Raises:
            OptionError: a parameter that cannot be used, or a replay or start of another dimension.
            EpisodeError: a replay of one class.
            WeightsError: a start that is not Fleet's.
        """
        rows, positive = self._check_support(features, y, dtype=np.float32)
        self._require_usable()
        replayed = self._replay or _Replay(rows, positive)
        if replayed.features.shape[1] != rows.shape[1]:
            raise OptionError(
                f"the replay has {replayed.features.shape[1]} columns, and the support {rows.shape[1]}; give both of "
                f"one layer"
            )
        begun = replayed.begun(self)
        module = copy.deepcopy(begun.module)
        settings = AdaptationSettings(
            **{name: getattr(self, name) for name in AdaptationSettings.__dataclass_fields__ if name in vars(self)}
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)  # of dropout
            adapt(module, begun.images(rows, positive), begun.replay, settings)
        self._learn({**begun.kept, **_arrays_of(module)})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) cosine to the synthetic prototype minus cosine to the natural one, -2 to 2."""
        rows = torch.from_numpy(self._check_query(features, dtype=np.float64))
        embeddings: Tensor
        with torch.no_grad():
            embeddings, _ = self._module(*self._branches(rows))
            cosines = [
                torch.nn.functional.cosine_similarity(embeddings, torch.from_numpy(self.arrays_[name]).double()[None])
                for name in _PROTOTYPES
            ]
        return np.asarray((cosines[0] - cosines[1]).numpy())

    def _branches(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        offset, scale = (torch.from_numpy(self.arrays_[name]).double() for name in _COLUMNS)
        return _split((rows - offset) / scale, *_widths(self.arrays_))

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return self.arrays_

    def _learn(self, arrays: Mapping[str, Any]) -> None:
        self.arrays_ = {name: np.array(arrays[name], np.float32, order="C") for name in self.learned}
        _require_columns(self.arrays_, self.n_features_in_, what=f"the saved head {self.name!r}")
        self._module = _module_of(self.arrays_, what=f"the saved head {self.name!r}").double()

    def _require_usable(self) -> None:
        counts = ("width", "segments", "hidden", "embedding", "batch_size", "replay_per_class")
        for name, least in {**dict.fromkeys(counts, 1), "epochs": 0, "pretraining_steps": 0}.items():
            if getattr(self, name) < least:
                raise OptionError(f"{name} is {getattr(self, name)}; give {least} or more")
        if self.width % self.segments or self.width < 4:
            raise OptionError(f"a width of {self.width} cannot be cut into {self.segments} segments; change either")
        if not 0 <= self.signal_columns < self.n_features_in_:
            raise OptionError(
                f"signal_columns is {self.signal_columns}, of {self.n_features_in_} columns; give 0 up to one less"
            )


@dataclass(frozen=True)
class _Begun:
    """A module before it is adapted, with what is replayed to it.

    Args:
        module: what learns; replay: images as it takes them.
        kept: offset and scale of the columns, and both prototypes.
    """

    module: RoutedEmbedding
    replay: LabelledImages
    kept: Mapping[str, NDArray[Any]]

    def images(self, rows: FloatArray, synthetic: BoolArray) -> LabelledImages:
        """Return rows (n, D) as the module takes them."""
        return _images(rows, synthetic, self.kept, _widths(_arrays_of(self.module)))


@dataclass(frozen=True)
class _Replay:
    """What heads of the same parameters are fitted beside; what they begin from is made once."""

    features: FloatArray
    synthetic: BoolArray
    made: dict[str, _Begun] = field(default_factory=dict, compare=False)

    def begun(self, head: Route) -> _Begun:
        key = repr(sorted(head.get_params().items()))
        if key not in self.made:
            self.made[key] = _begin(head, self._drawn(head))
        return self.made[key]

    def _drawn(self, head: Route) -> "_Replay":
        """Return at most so many rows of each class, in a random order."""
        generator = np.random.default_rng([head.random_state, 1])
        shuffled = generator.permutation(len(self.synthetic))
        sides = [shuffled[self.synthetic[shuffled] == side][: head.replay_per_class] for side in (False, True)]
        rows = generator.permutation(np.concatenate(sides))
        return replace(self, features=self.features[rows], synthetic=self.synthetic[rows], made={})


def _begin(head: Route, replay: _Replay) -> _Begun:
    """Return the module that the adaptation starts from, read or pretrained."""
    kept = _read_start(head.start) if head.start else _standardisation(replay.features)
    if head.start:
        _require_columns(kept, head.n_features_in_, what=f"the start {head.start}")
        kept = {"offset": np.zeros(head.n_features_in_), "scale": np.ones(head.n_features_in_), **kept}
        module = _module_of(kept, what=f"the start {head.start}", dropout=head.dropout)
        images = _images(replay.features, replay.synthetic, kept, _widths(kept))
    else:
        signal = head.signal_columns or head.n_features_in_
        sizes = RoutingSizes(
            feature=head.n_features_in_ - head.signal_columns,
            signal=signal,
            width=head.width,
            heads=head.segments,
            hidden=head.hidden,
            embedding=head.embedding,
            dropout=head.dropout,
        )
        images = _images(replay.features, replay.synthetic, kept, (sizes.feature, sizes.signal))
        module = _pretrained(sizes, images, head)
    before = reference_of(module, images)
    means = zip(_PROTOTYPES, (before.synthetic_prototype, before.natural_prototype), strict=True)
    own = {name: value.numpy() for name, value in means}
    wanted = (*_COLUMNS, *_PROTOTYPES)
    return _Begun(module, images, {name: np.asarray({**own, **kept}[name], np.float32) for name in wanted})


def _pretrained(sizes: RoutingSizes, images: LabelledImages, head: Route) -> RoutedEmbedding:
    settings = PretrainingSettings(steps=head.pretraining_steps, learning_rate=head.pretraining_learning_rate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head.random_state)
        module = RoutedEmbedding(sizes)
        pretrain(module, images, settings, generator=torch.Generator().manual_seed(int(head.random_state)))
    return module


def _read_start(start: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a start by the names of the head's own, without those of the branches."""
    from fewshot.embeddings.weights.checkpoint import read_checkpoint

    state = read_checkpoint(Path(start).expanduser())
    wanted = (*_COLUMNS, *_PROTOTYPES)
    return {key: value.numpy() for key, value in state.items() if key.startswith(_PARTS) or key in wanted}


def _standardisation(features: FloatArray) -> dict[str, NDArray[Any]]:
    deviation = features.std(axis=0, dtype=np.float64)
    return {"offset": features.mean(axis=0, dtype=np.float64), "scale": np.where(deviation > 0, deviation, 1.0)}


def _images(
    rows: FloatArray, synthetic: BoolArray, kept: Mapping[str, NDArray[Any]], widths: tuple[int, int]
) -> LabelledImages:
    columns = torch.from_numpy(np.asarray((rows - kept["offset"]) / kept["scale"], np.float32))
    return LabelledImages(_split(columns, *widths), torch.from_numpy(np.array(synthetic, bool)))


def _split(columns: Tensor, feature: int, signal: int) -> tuple[Tensor, Tensor]:
    """Return the columns of both branches, which are the first and the others, or all of them twice."""
    return columns[:, :feature], columns[:, -signal:]


def _widths(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """Return how many columns the feature and the signal have."""
    return arrays["routing.k_proj.weight"].shape[1], arrays["xception_fc.weight"].shape[1]


def _require_columns(arrays: Mapping[str, NDArray[Any]], dimension: int, *, what: str) -> None:
    if missing := [name for name in Route.learned if name.startswith(_PARTS) and name not in arrays]:
        raise WeightsError(f"{what} lacks {missing[0]} and {len(missing) - 1} more; give Fleet's own checkpoint")
    feature, signal = _widths(arrays)
    if dimension not in (feature + signal, feature if feature == signal else 0):
        raise WeightsError(
            f"{what} reads {feature} + {signal} columns, and the features have {dimension}; of the backbone fleet "
            f"choose --layer branches"
        )


def _module_of(arrays: Mapping[str, NDArray[Any]], *, what: str, dropout: float = 0.0) -> RoutedEmbedding:
    feature, signal = _widths(arrays)
    width, query = arrays["routing.out_proj.weight"].shape[0], arrays["routing.q_proj.4.weight"].shape[0]
    embedding, hidden = arrays["projection.4.weight"].shape
    sizes = RoutingSizes(feature, signal, width, width // query, hidden, embedding, dropout)
    try:
        module = RoutedEmbedding(sizes)
        module.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays if name.startswith(_PARTS)})
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{what} has layers that do not fit together ({error}); give Fleet's own") from error
    return module.eval()


def _arrays_of(module: RoutedEmbedding) -> dict[str, NDArray[Any]]:
    return {name: value.numpy(force=True) for name, value in module.state_dict().items()}
