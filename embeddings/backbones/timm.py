"""Any model of timm as a control: ``timm:NAME``, or ``timm:NAME@SIZE`` for another input size."""

from functools import lru_cache
from typing import Any, final

from torch import Tensor, nn

from fewshot.core.errors import OptionError, UnknownNameError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop, ShorterSide, Squash, Step
from fewshot.embeddings.networks.taps import POOLED, Shapes, Taps, Tokens, shapes


@final
class Timm(Backbone):
    """The pooled features before the classifier, and any hidden layer by name; the classifier is left out."""

    name = "timm"
    generic = True

    def chosen_variant(self, variant: str | None) -> str:
        """Refuse a name that timm does not know; nothing is looked up outside this machine."""
        if not variant:
            raise OptionError("backbone 'timm' needs a model name, for example timm:resnet50.a1_in1k")
        name, _, size = variant.partition("@")
        if size and not size.isdecimal():
            raise OptionError(f"timm:{variant}: {size!r} is no input size in pixels; write for example timm:{name}@224")
        _require_known(name)
        return variant

    def make_card(self) -> BackboneCard:
        name, size = self._name_and_size()
        found = _shapes(name, size)
        configuration = _configuration(name)
        hub = str(configuration.get("hf_hub_id") or "")
        return BackboneCard(
            name=self.full_name,
            layers=found.blocks,
            layer=POOLED,
            input=_input_rule(name, size),
            weights=(
                WeightFile(
                    f"{hub.rpartition('/')[2] or name}.safetensors",
                    repository=hub,
                    hub_file="model.safetensors",
                    licence=str(configuration.get("license") or "see the model's page"),
                ),
            ),
            equality="code-equivalent",
            parameters=found.parameters,
            gflops=found.gflops,
            paper=str(configuration.get("paper_name") or "see the model's page"),
            reference=f"timm {name}",
            licence=str(configuration.get("license") or "see the model's page"),
            note="a control: it was never trained to detect anything",
        )

    @property
    def ignorable(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the model
        """The classifier's own keys."""
        names = _configuration(self._name_and_size()[0]).get("classifier") or ()
        return tuple(
            rf"{name.replace('.', chr(92) + '.')}\.(weight|bias)"
            for name in ((names,) if isinstance(names, str) else names)
        )

    def dimension(self, layer: str) -> int | None:
        """Return the dimension of any module's layer, not only of the card's blocks."""
        found = _shapes(*self._name_and_size())
        return found.pooled if layer == POOLED else found.layers.get(layer)

    def default_layers(self) -> tuple[str, ...]:
        """Only the pooled features; blocks are named."""
        return (POOLED,)

    def build(self) -> nn.Module:
        return _model(self._name_and_size()[0])

    def filled(self) -> None:
        """Resample the positions when another size than the model's own is wanted."""
        name, size = self._name_and_size()
        if size is not None:
            _resize(self.network, name, size)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return Taps(self.network, _tokens(self.network)).read(batch, self.layers)

    def _name_and_size(self) -> tuple[str, int | None]:
        name, _, size = str(self.variant).partition("@")
        return name, int(size) if size else None


def _require_known(name: str) -> None:
    import timm

    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        near = timm.list_models(f"{base.partition('_')[0]}*")[:8] or timm.list_models("resnet*")[:8]
        raise UnknownNameError(
            f"timm has no model {base!r}; some of its {len(timm.list_models())}: {', '.join(near)} "
            f"(all of them: python -c 'import timm; print(timm.list_models())')"
        )
    tags = [found.partition(".")[2] for found in timm.list_pretrained(f"{base}.*")]
    if tag and tag not in tags:
        raise UnknownNameError(f"timm model {base!r} has no pretrained tag {tag!r}. Known: {', '.join(sorted(tags))}")


def _model(name: str) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return model


def _resize(model: nn.Module, name: str, size: int) -> None:
    chosen: Any = model
    if hasattr(chosen, "set_input_size"):
        chosen.set_input_size(img_size=(size, size))
    elif _configuration(name).get("fixed_input_size"):
        raise OptionError(f"timm:{name}@{size}: this model's input size is fixed; leave @{size} out")


@lru_cache(maxsize=64)
def _shapes(name: str, size: int | None) -> Shapes:
    import torch

    with torch.device("meta"):
        model = _model(name)
        if size is not None:
            _resize(model, name, size)
    height, width = (size, size) if size is not None else _configuration(name)["input_size"][1:]
    return shapes(model, size=(height, width), tokens=_tokens(model))


@lru_cache(maxsize=64)
def _configuration(name: str) -> dict[str, Any]:
    import timm
    from timm.data import resolve_data_config

    found = timm.get_pretrained_cfg(name)
    known = found.to_dict() if found is not None else {}
    return {**known, **resolve_data_config(pretrained_cfg=known)}


def _tokens(model: Any) -> Tokens:
    return Tokens(
        prefix=int(getattr(model, "num_prefix_tokens", 0) or 0),
        channels_last=getattr(model, "output_fmt", "NCHW") == "NHWC",
    )


def _input_rule(name: str, size: int | None) -> InputRule:
    """timm's evaluation transform: shorter side to size / crop_pct, centre crop (or a squash), mean and std."""
    found = _configuration(name)
    height, width = (size, size) if size is not None else found["input_size"][1:]
    interpolation: Any = found["interpolation"] if found["interpolation"] != "random" else "bilinear"
    crop, mode = float(found["crop_pct"]), found["crop_mode"]
    if mode not in ("center", "squash") or (mode == "center" and height != width):
        raise OptionError(f"timm:{name} wants the crop mode {mode!r} at {height}x{width}, which is not supported")
    steps: tuple[Step, ...] = (
        (Squash(int(height / crop), int(width / crop), interpolation),)
        if mode == "squash"
        else (ShorterSide(int(height / crop), interpolation),)
    )
    return InputRule((*steps, CenterCrop(height, width)), tuple(found["mean"]), tuple(found["std"]))
