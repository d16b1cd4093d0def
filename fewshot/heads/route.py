"""Fleet's adaptation on cached features: a routing between two branches, moved by a few images beside replayed ones."""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot.core.arrays import BoolArray, Float64Array, FloatArray
from fewshot.core.errors import OptionError
from fewshot.embeddings.training.fleet_adaptation import AdaptationSettings, adapt
from fewshot.heads.base import Head
from fewshot.heads.routing_start import (
    COLUMNS,
    LEARNED,
    PROTOTYPES,
    Replay,
    StartSettings,
    arrays_of,
    module_of,
    require_columns,
    split,
    widths,
)
from fewshot.heads.state import Learned


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
    learned: ClassVar[Mapping[str, Learned]] = LEARNED
    arrays_: Mapping[str, NDArray[Any]]
    _replay: "Replay | None" = None

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
        head._replay = Replay(np.asarray(features, dtype=np.float32), np.asarray(synthetic, dtype=bool))
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
        replayed = self._replay or Replay(rows, positive)
        if replayed.features.shape[1] != rows.shape[1]:
            raise OptionError(
                f"the replay has {replayed.features.shape[1]} columns, and the support {rows.shape[1]}; give both of "
                f"one layer"
            )
        begun = replayed.begun(self._start())
        module = copy.deepcopy(begun.module)
        settings = AdaptationSettings(
            **{name: getattr(self, name) for name in AdaptationSettings.__dataclass_fields__ if name in vars(self)}
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)  # of dropout
            adapt(module, begun.images(rows, positive), begun.replay, settings)
        self._learn({**begun.kept, **arrays_of(module)})
        return self

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return (M,) cosine to the synthetic prototype minus cosine to the natural one, -2 to 2."""
        rows = torch.from_numpy(self._check_query(features, dtype=np.float64))
        embeddings: Tensor
        with torch.no_grad():
            embeddings, _ = self._module(*self._branches(rows))
            cosines = [
                torch.nn.functional.cosine_similarity(embeddings, torch.from_numpy(self.arrays_[name]).double()[None])
                for name in PROTOTYPES
            ]
        return np.asarray((cosines[0] - cosines[1]).numpy())

    def _branches(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        offset, scale = (torch.from_numpy(self.arrays_[name]).double() for name in COLUMNS)
        return split((rows - offset) / scale, *widths(self.arrays_))

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return self.arrays_

    def _learn(self, arrays: Mapping[str, Any]) -> None:
        self.arrays_ = {name: np.array(arrays[name], np.float32, order="C") for name in self.learned}
        require_columns(self.arrays_, self.n_features_in_, what=f"the saved head {self.name!r}")
        self._module = module_of(self.arrays_, what=f"the saved head {self.name!r}").double()

    def _start(self) -> StartSettings:
        own = {name: getattr(self, name) for name in StartSettings.__dataclass_fields__ if name in vars(self)}
        return StartSettings(**own, columns=self.n_features_in_)

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
