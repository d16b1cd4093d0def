"""The ACM head: an encoder-decoder fitted on one class, and a classifier on the deviation |f - D(E(f))|."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float32Array, Float64Array, FloatArray
from fewshot.core.device import torch_device
from fewshot.core.errors import EpisodeError, OptionError, unknown_name
from fewshot.heads.base import Head
from fewshot.heads.state import Learned
from fewshot.reconstruction.perceptron import PerceptronStack
from fewshot.reconstruction.trained import Trained
from fewshot.reconstruction.training import TrainingRows, train
from fewshot.reconstruction.training_settings import Activation, Classifier, Norm, Schedule, Stop, TrainingSettings


class Acm(Head):
    """Attribute images to one class by what an encoder-decoder of that class cannot rebuild (arXiv 2603.00717v2).

    Formulas 3 to 5; what the paper leaves open is a parameter here, with ``Recipe``'s defaults. The features are used
    as they come (the paper's are raw). With a bottleneck as wide as the features the deviation of both classes
    vanishes, so keep ``latent`` under the class's effective rank.

    Args:
        fit_on: the class of the encoder-decoder, ``natural`` or ``synthetic``.
        latent, widths, activation, norm, classifier, schedule, learning_rate, batch_size, steps, stop, patience: as
            in ``fewshot.reconstruction.training_settings.TrainingSettings``.
        validation: share of the support held out (by class, at least an image of each) to choose the step that is
            kept; 0 keeps the last.
            ``stop="plateau"`` needs one.
        device: where it is trained, ``cpu``, ``cuda`` or ``cuda:N``; the scores are computed on the CPU, so that a
            saved head scores the same on a machine without a GPU.
        random_state: the seed; equal seeds give equal models.

    Attributes:
        classes_: (2,) the labels, synthetic last.
        trained_: the networks, the losses of every step, and the step that was kept.
    """

    name: ClassVar[str] = "acm"
    raw: ClassVar[bool] = True
    trained_: Trained

    def __init__(  # noqa: PLR0913  # scikit-learn: one parameter per choice
        self,
        *,
        fit_on: Literal["natural", "synthetic"] = "natural",
        latent: int | None = None,
        widths: tuple[int, ...] | None = None,
        activation: Activation = "relu",
        norm: Norm = "l1",
        classifier: Classifier = "linear",
        schedule: Schedule = "batch",
        learning_rate: float = 2e-4,
        batch_size: int = 256,
        steps: int | None = None,
        stop: Stop = "steps",
        patience: int = 5,
        validation: float = 0.0,
        device: str = "cpu",
        random_state: int = 0,
    ) -> None:
        self.fit_on = fit_on
        self.latent = latent
        self.widths = widths
        self.activation = activation
        self.norm = norm
        self.classifier = classifier
        self.schedule = schedule
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.steps = steps
        self.stop = stop
        self.patience = patience
        self.validation = validation
        self.device = device
        self.random_state = random_state

    def fit(self, features: FloatArray, y: Any) -> Self:
        """Train on features (n, D) floating and labels y (n,), the larger label synthetic.

        Raises:
            ValueError: not two classes, non-finite features, or shapes that do not fit (scikit-learn's own checks).
            OptionError: a parameter that cannot be used.
        """
        rows, positive = self._check_support(features, y, dtype=np.float32)
        held = self._held_out(positive)
        kept = np.flatnonzero(~held)
        fitted = positive[kept] == self._fit_on_synthetic()
        training = TrainingRows(
            read=lambda chosen: rows[chosen],
            class_rows=kept[fitted],
            other_rows=kept[~fitted],
            seed=int(self.random_state),
            validation=(rows[held], positive[held]) if held.any() else None,
        )
        (trained,) = train(
            [training], self._settings(), fit_on_synthetic=self._fit_on_synthetic(), device=torch_device(self.device)
        )
        self._learn(_arrays_of(trained))
        return self

    def deviation(self, features: FloatArray) -> Float32Array:
        """Return |f - D(E(f))| of features (n, D), formula 3: (n, D) float32."""
        rows = self._check_query(features, dtype=np.float32)
        return self.trained_.deviation(rows)

    def decision_function(self, features: FloatArray) -> Float64Array:
        """Return the logit of "synthetic" of features (n, D): (n,) float64."""
        rows = self._check_query(features, dtype=np.float32)
        return self.trained_.logits(rows)

    def predict_proba(self, features: FloatArray) -> Float64Array:
        """Return the probabilities of natural and synthetic, formula 5's C: (n, 2) float64."""
        logits = self.decision_function(features)
        synthetic = np.exp(-np.logaddexp(0.0, -logits))
        return np.column_stack([1.0 - synthetic, synthetic])

    def _declared(self) -> Mapping[str, Learned]:
        declared = {
            "steps": Learned("", int),
            "kept_step": Learned("", int),
            "attribution_loss": Learned("t"),
            "classification_loss": Learned("t"),
        }
        for part, (widths, _) in self._parts().items():
            for layer, (wide, narrow) in enumerate(pairwise(widths)):
                declared[f"{part}.{layer}.weight"] = Learned(f"{wide} {narrow}")
                declared[f"{part}.{layer}.bias"] = Learned(f"{narrow}")
        return declared

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return _arrays_of(self.trained_)

    def _learn(self, arrays: Mapping[str, Any]) -> None:
        networks = {}
        for part, (widths, relu) in self._parts().items():
            layers = [
                (torch.tensor(arrays[f"{part}.{layer}.weight"]), torch.tensor(arrays[f"{part}.{layer}.bias"]))
                for layer in range(len(widths) - 1)
            ]
            networks[part] = PerceptronStack.of(layers, relu=relu)
        self.trained_ = Trained(
            **networks,
            steps=int(arrays["steps"]),
            kept_step=int(arrays["kept_step"]),
            attribution_loss=np.asarray(arrays["attribution_loss"]),
            classification_loss=np.asarray(arrays["classification_loss"]),
        )

    def _parts(self) -> dict[str, tuple[tuple[int, ...], tuple[bool, ...]]]:
        """Return the widths of both networks, and after which of their layers a ReLU stands."""
        settings, dimension = self._settings(), self.n_features_in_
        return {
            "autoencoder": settings.autoencoder(dimension),
            "classifier": settings.classifier_widths(dimension),
        }

    def _fit_on_synthetic(self) -> bool:
        if self.fit_on not in ("natural", "synthetic"):
            raise unknown_name("class to fit on", str(self.fit_on), ("natural", "synthetic"))
        return self.fit_on == "synthetic"

    def _settings(self) -> TrainingSettings:
        widths = None if self.widths is None else tuple(self.widths)
        given: Any = self  # texts whose choices TrainingSettings checks
        return TrainingSettings(
            latent=self.latent,
            widths=widths,
            activation=given.activation,
            norm=given.norm,
            classifier=given.classifier,
            schedule=given.schedule,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            steps=self.steps,
            stop=given.stop,
            patience=self.patience,
        )

    def _held_out(self, positive: BoolArray) -> BoolArray:
        """Return the rows kept for validation: the same share of both classes, at least one of each, or none."""
        held = np.zeros(len(positive), bool)
        if not 0 <= self.validation < 1:
            raise OptionError(f"validation is {self.validation}; give a share from 0 up to, not including, 1")
        if self.validation:
            generator = np.random.default_rng([int(self.random_state), 2])
            for label in (False, True):
                rows = generator.permutation(np.flatnonzero(positive == label))
                count = max(1, round(self.validation * len(rows)))
                if count >= len(rows):
                    raise EpisodeError(
                        f"validation={self.validation} leaves no row to train on: a class has {len(rows)} images; "
                        f"give more images or validation=0"
                    )
                held[rows[:count]] = True
        return held


def _arrays_of(trained: Trained) -> dict[str, NDArray[Any]]:
    """Return a trained model as arrays: the layers of both networks, and what is known of its training."""
    arrays: dict[str, NDArray[Any]] = {
        "steps": np.array(trained.steps),
        "kept_step": np.array(trained.kept_step),
        "attribution_loss": trained.attribution_loss,
        "classification_loss": trained.classification_loss,
    }
    for part, network in (("autoencoder", trained.autoencoder), ("classifier", trained.classifier)):
        for layer, (weight, bias) in enumerate(network.layers(0) if network else ()):
            arrays[f"{part}.{layer}.weight"] = weight.numpy(force=True)
            arrays[f"{part}.{layer}.bias"] = bias.numpy(force=True)
    return arrays
