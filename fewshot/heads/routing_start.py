"""What the head ``route`` begins from: Fleet's weights or a pretraining, and the images that it replays."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot.core.arrays import BoolArray, FloatArray
from fewshot.core.errors import WeightsError
from fewshot.embeddings.networks.routing import RoutedEmbedding, RoutingSizes
from fewshot.embeddings.training.fleet_adaptation import LabelledImages, PretrainingSettings, pretrain, reference_of
from fewshot.heads.state import Learned

PARTS = ("xception_fc.", "routing.", "projection.")
PROTOTYPES = ("fake_prototype", "real_prototype")
COLUMNS = ("offset", "scale")
LEARNED: Mapping[str, Learned] = {
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


@dataclass(frozen=True)
class StartSettings:
    """The parameters of the head ``route`` that its start depends on, and the number of columns it reads."""

    start: str
    signal_columns: int
    width: int
    segments: int
    hidden: int
    embedding: int
    replay_per_class: int
    dropout: float
    pretraining_steps: int
    pretraining_learning_rate: float
    random_state: int
    columns: int


@dataclass(frozen=True)
class Begun:
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
        return images_of(rows, synthetic, self.kept, widths(arrays_of(self.module)))


@dataclass(frozen=True)
class Replay:
    """What heads of the same parameters are fitted beside; what they begin from is made once."""

    features: FloatArray
    synthetic: BoolArray
    made: dict[StartSettings, Begun] = field(default_factory=dict, compare=False)

    def begun(self, settings: StartSettings) -> Begun:
        """Return what a head of some settings begins from, made at its first fit."""
        if settings not in self.made:
            self.made[settings] = _begin(settings, self._drawn(settings))
        return self.made[settings]

    def _drawn(self, settings: StartSettings) -> "Replay":
        """Return at most so many rows of each class, in a random order."""
        generator = np.random.default_rng([settings.random_state, 1])
        shuffled = generator.permutation(len(self.synthetic))
        sides = [shuffled[self.synthetic[shuffled] == side][: settings.replay_per_class] for side in (False, True)]
        rows = generator.permutation(np.concatenate(sides))
        return replace(self, features=self.features[rows], synthetic=self.synthetic[rows], made={})


def _begin(settings: StartSettings, replay: Replay) -> Begun:
    """Return the module that the adaptation starts from, read or pretrained."""
    kept = _read_start(settings.start) if settings.start else _standardisation(replay.features)
    if settings.start:
        require_columns(kept, settings.columns, what=f"the start {settings.start}")
        kept = {"offset": np.zeros(settings.columns), "scale": np.ones(settings.columns), **kept}
        module = module_of(kept, what=f"the start {settings.start}", dropout=settings.dropout)
        images = images_of(replay.features, replay.synthetic, kept, widths(kept))
    else:
        signal = settings.signal_columns or settings.columns
        sizes = RoutingSizes(
            feature=settings.columns - settings.signal_columns,
            signal=signal,
            width=settings.width,
            heads=settings.segments,
            hidden=settings.hidden,
            embedding=settings.embedding,
            dropout=settings.dropout,
        )
        images = images_of(replay.features, replay.synthetic, kept, (sizes.feature, sizes.signal))
        module = _pretrained(sizes, images, settings)
    before = reference_of(module, images)
    means = zip(PROTOTYPES, (before.synthetic_prototype, before.natural_prototype), strict=True)
    own = {name: value.numpy() for name, value in means}
    wanted = (*COLUMNS, *PROTOTYPES)
    return Begun(module, images, {name: np.asarray({**own, **kept}[name], np.float32) for name in wanted})


def _pretrained(sizes: RoutingSizes, images: LabelledImages, settings: StartSettings) -> RoutedEmbedding:
    schedule = PretrainingSettings(steps=settings.pretraining_steps, learning_rate=settings.pretraining_learning_rate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.random_state)
        module = RoutedEmbedding(sizes)
        pretrain(module, images, schedule, generator=torch.Generator().manual_seed(int(settings.random_state)))
    return module


def _read_start(start: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a start by the names of the head's own, without those of the branches."""
    from fewshot.embeddings.weights.checkpoint import read_checkpoint

    state = read_checkpoint(Path(start).expanduser())
    wanted = (*COLUMNS, *PROTOTYPES)
    return {key: value.numpy() for key, value in state.items() if key.startswith(PARTS) or key in wanted}


def _standardisation(features: FloatArray) -> dict[str, NDArray[Any]]:
    deviation = features.std(axis=0, dtype=np.float64)
    return {"offset": features.mean(axis=0, dtype=np.float64), "scale": np.where(deviation > 0, deviation, 1.0)}


def images_of(
    rows: FloatArray, synthetic: BoolArray, kept: Mapping[str, NDArray[Any]], widths: tuple[int, int]
) -> LabelledImages:
    """Return rows (n, D) as the module takes them, given offset and scale among ``kept``."""
    columns = torch.from_numpy(np.asarray((rows - kept["offset"]) / kept["scale"], np.float32))
    return LabelledImages(split(columns, *widths), torch.from_numpy(np.array(synthetic, bool)))


def split(columns: Tensor, feature: int, signal: int) -> tuple[Tensor, Tensor]:
    """Return the columns of both branches, which are the first and the others, or all of them twice."""
    return columns[:, :feature], columns[:, -signal:]


def widths(arrays: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """Return how many columns the feature and the signal have."""
    return arrays["routing.k_proj.weight"].shape[1], arrays["xception_fc.weight"].shape[1]


def require_columns(arrays: Mapping[str, NDArray[Any]], dimension: int, *, what: str) -> None:
    """Require all layers of the routing, and that they read ``dimension`` columns.

    Raises:
        WeightsError: one is missing, or they read others.
    """
    if missing := [name for name in LEARNED if name.startswith(PARTS) and name not in arrays]:
        raise WeightsError(f"{what} lacks {missing[0]} and {len(missing) - 1} more; give Fleet's own checkpoint")
    feature, signal = widths(arrays)
    if dimension not in (feature + signal, feature if feature == signal else 0):
        raise WeightsError(
            f"{what} reads {feature} + {signal} columns, and the features have {dimension}; of the backbone fleet "
            f"choose --layer branches"
        )


def module_of(arrays: Mapping[str, NDArray[Any]], *, what: str, dropout: float = 0.0) -> RoutedEmbedding:
    """Return the module in eval mode that arrays fill.

    Raises:
        WeightsError: their shapes do not fit together.
    """
    feature, signal = widths(arrays)
    width, query = arrays["routing.out_proj.weight"].shape[0], arrays["routing.q_proj.4.weight"].shape[0]
    embedding, hidden = arrays["projection.4.weight"].shape
    sizes = RoutingSizes(feature, signal, width, width // query, hidden, embedding, dropout)
    try:
        module = RoutedEmbedding(sizes)
        module.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays if name.startswith(PARTS)})
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{what} has layers that do not fit together ({error}); give Fleet's own") from error
    return module.eval()


def arrays_of(module: RoutedEmbedding) -> dict[str, NDArray[Any]]:
    """Return the arrays of a module by its own names."""
    return {name: value.numpy(force=True) for name, value in module.state_dict().items()}
