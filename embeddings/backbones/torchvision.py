"""Any classifier of torchvision as a control: ``torchvision:NAME``, or ``torchvision:NAME.WEIGHTS``."""

from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, final

from torch import Tensor, nn

from fewshot.core.errors import OptionError, UnknownNameError, unknown_name
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop, ShorterSide
from fewshot.embeddings.networks.taps import POOLED, Shapes, Taps, Tokens, shapes

FIRST = "IMAGENET1K_V1"


@final
class Torchvision(Backbone):
    """The input of the last linear layer as ``pooled``, and any hidden layer by name; that last layer is left out."""

    name = "torchvision"
    generic = True

    def chosen_variant(self, variant: str | None) -> str:
        """Refuse a name that torchvision does not know."""
        if not variant:
            raise OptionError("backbone 'torchvision' needs a model name, for example torchvision:resnet50")
        name, _, tag = variant.partition(".")
        _require_known(name, tag)
        return variant

    def make_card(self) -> BackboneCard:
        name, tag = self._name_and_tag()
        found = _shapes(name, tag)
        url = str(_weights(name, tag).url)
        file = PurePosixPath(url).name
        return BackboneCard(
            name=self.full_name,
            layers=found.blocks,
            layer=POOLED,
            input=_input_rule(name, tag),
            # torchvision's file names end in the first eight digits of their SHA-256
            weights=(WeightFile(file, url=url, licence="BSD-3-Clause", sha256=_hash_in(file)),),
            equality="code-equivalent",
            parameters=found.parameters,
            gflops=found.gflops,
            paper=f"see torchvision's page of {name}",
            reference=f"torchvision {name}, {_weights(name, tag).name}",
            licence="BSD-3-Clause",
            note="a control: an ImageNet classifier that was never trained to detect anything",
        )

    @property
    def ignorable(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the model
        """The last linear layer's keys, and those of auxiliary classifiers that only training uses."""
        last = _last_linear(_model(self._name_and_tag()[0], device="meta")).replace(".", r"\.")
        return (rf"{last}\.(weight|bias)", r"aux\d\..*", r"AuxLogits\..*")

    def dimension(self, layer: str) -> int | None:
        """Return the dimension of any module's layer, not only of the card's blocks."""
        found = _shapes(*self._name_and_tag())
        return found.pooled if layer == POOLED else found.layers.get(layer)

    def default_layers(self) -> tuple[str, ...]:
        """Only the pooled features; blocks are named."""
        return (POOLED,)

    def build(self) -> nn.Module:
        return _headless(_model(self._name_and_tag()[0], device="cpu"))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return Taps(self.network, _tokens(self.network)).read(batch, self.layers)

    def _name_and_tag(self) -> tuple[str, str]:
        name, _, tag = str(self.variant).partition(".")
        return name, tag


def _require_known(name: str, tag: str) -> None:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise unknown_name("torchvision model", name, models.list_models(module=models))
    known = [weights.name for weights in models.get_model_weights(name)]
    if tag and tag not in known:
        raise UnknownNameError(f"torchvision model {name!r} has no weights {tag!r}. Known: {', '.join(known)}")


def _weights(name: str, tag: str) -> Any:
    from torchvision import models

    found: Any = models.get_model_weights(name)
    return found[tag] if tag else found.__members__.get(FIRST, found.DEFAULT)


def _model(name: str, *, device: str) -> nn.Module:
    import torch
    from torchvision import models

    slow_initialisers = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device(device):
        model: nn.Module = models.get_model(name, weights=None, **slow_initialisers)
    for auxiliary in ("aux1", "aux2", "AuxLogits"):
        if getattr(model, auxiliary, None) is not None:
            setattr(model, auxiliary, None)
    return model


def _last_linear(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise OptionError(
            f"torchvision's {type(model).__name__} has no linear classifier to leave out; choose another model"
        )
    return str(names[-1])


def _headless(model: nn.Module) -> nn.Module:
    model.set_submodule(_last_linear(model), nn.Identity())
    return model


@lru_cache(maxsize=64)
def _shapes(name: str, tag: str) -> Shapes:
    model = _headless(_model(name, device="meta"))
    size = int(_weights(name, tag).transforms().crop_size[0])
    return shapes(model, size=(size, size), tokens=_tokens(model))


def _tokens(model: Any) -> Tokens:
    return Tokens(
        prefix=1 if hasattr(model, "class_token") else 0,
        channels_last=type(model).__name__ == "SwinTransformer",
    )


def _input_rule(name: str, tag: str) -> InputRule:
    """The preset of the weights: shorter side, centre crop, mean and std."""
    preset = _weights(name, tag).transforms()
    crop = int(preset.crop_size[0])
    steps = (ShorterSide(int(preset.resize_size[0]), preset.interpolation.value), CenterCrop(crop, crop))
    return InputRule(steps, tuple(preset.mean), tuple(preset.std))


def _hash_in(file: str) -> str:
    return file.removesuffix(".pth").rpartition("-")[2]
