"""Any CLIP model of open_clip as a control: ``clip:MODEL:TAG``, for example ``clip:ViT-L-14:openai``."""

import re
from functools import lru_cache
from typing import Any, final

from torch import Tensor, nn

from fewshot.core.errors import OptionError, unknown_name
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import CenterCrop, ShorterSide, Squash, Step
from fewshot.embeddings.networks.clip import TEXT_TOWER, ImageTower
from fewshot.embeddings.networks.taps import POOLED, Shapes, Taps, Tokens, shapes

_BLOCK = re.compile(r"(resblocks|blocks|stages|layer)\.?\d+\.(cls|mean)$")


@final
class Clip(Backbone):
    """The projected image embedding as ``pooled``, and any hidden layer by name.

    ``visual.ln_post.cls`` is the class token before the projection, ``visual.transformer.resblocks.5.cls`` the one
    after block 5.
    """

    name = "clip"
    generic = True
    # text towers that are not OpenAI's own stand under ``text.``
    ignorable = (*TEXT_TOWER, r"text\..*", r"text_decoder\..*")

    def chosen_variant(self, variant: str | None) -> str:
        """Refuse a model or tag that open_clip does not know; nothing is looked up outside this machine."""
        from open_clip import list_models, list_pretrained_tags_by_model

        model, _, tag = (variant or "").partition(":")
        if not model or not tag:
            raise OptionError("backbone 'clip' needs a model and a pretrained tag, for example clip:ViT-L-14:openai")
        tags = list_pretrained_tags_by_model(model)
        if not tags:
            raise unknown_name("open_clip model", model, list_models())
        if tag not in tags:
            raise unknown_name(f"pretrained tag of open_clip's {model}", tag, tags)
        return f"{model}:{tag}"

    def make_card(self) -> BackboneCard:
        model, tag = self._model_and_tag()
        found = _shapes(_built_name(model, tag))
        facts = _facts(model, tag)
        repository, hub_file = _hub_place(str(facts.get("hf_hub") or ""))
        suffix = "safetensors" if hub_file.endswith("safetensors") else "pt"
        return BackboneCard(
            name=self.full_name,
            layers={name: size for name, size in found.blocks.items() if name == POOLED or _BLOCK.search(name)},
            layer=POOLED,
            input=_input_rule(model, facts),
            weights=(
                WeightFile(
                    f"clip-{model}-{tag}.{suffix}",
                    repository=repository,
                    hub_file=hub_file,
                    url="" if repository else str(facts.get("url") or ""),
                    licence="see the model's page",
                ),
            ),
            equality="code-equivalent",
            parameters=found.parameters,
            gflops=found.gflops,
            paper="Radford et al., Learning Transferable Visual Models, ICML 2021; Ilharco et al., OpenCLIP",
            reference=f"open_clip {model}, {tag}",
            licence="see the model's page",
            note="a control: it was never trained to detect anything",
        )

    def dimension(self, layer: str) -> int | None:
        """Return the dimension of any module's layer, not only of the card's blocks."""
        found = _shapes(_built_name(*self._model_and_tag()))
        return found.pooled if layer == POOLED else found.layers.get(layer)

    def default_layers(self) -> tuple[str, ...]:
        """Only the embedding; blocks are named."""
        return (POOLED,)

    def build(self) -> nn.Module:
        return ImageTower(_built_name(*self._model_and_tag()))

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        return Taps(self.network, _tokens(self.network)).read(batch, self.layers)

    def _model_and_tag(self) -> tuple[str, str]:
        model, _, tag = str(self.variant).partition(":")
        return model, tag


def _facts(model: str, tag: str) -> dict[str, Any]:
    from open_clip import get_pretrained_cfg

    return dict(get_pretrained_cfg(model, tag))


def _built_name(model: str, tag: str) -> str:
    """Return the configuration to build: weights trained with QuickGELU need it, as open_clip itself enforces."""
    from open_clip import get_model_config, list_models

    if not _facts(model, tag).get("quick_gelu") or get_model_config(model).get("quick_gelu"):
        return model
    quick = f"{model}-quickgelu"
    if quick not in list_models():
        raise OptionError(f"clip:{model}:{tag} was trained with QuickGELU, and open_clip has no {quick}")
    return quick


def _hub_place(place: str) -> tuple[str, str]:
    """Return repository and file of open_clip's ``hf_hub``, ``owner/name/`` or ``owner/name/file``."""
    owner, _, rest = place.partition("/")
    name, _, file = rest.partition("/")
    if not name:
        return "", ""
    # timm's copies are safetensors; elsewhere the older file is the one that is always there
    usual = "open_clip_model.safetensors" if owner == "timm" else "open_clip_pytorch_model.bin"
    return f"{owner}/{name}", file or usual


@lru_cache(maxsize=64)
def _shapes(model: str) -> Shapes:
    import torch

    with torch.device("meta"):
        tower = ImageTower(model)
        return shapes(tower, size=_size(model), tokens=_tokens(tower))


def _size(model: str) -> tuple[int, int]:
    from open_clip import get_model_config

    size = get_model_config(model)["vision_cfg"].get("image_size", 224)
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _tokens(tower: nn.Module) -> Tokens:
    visual: Any = tower.get_submodule("visual")
    if hasattr(visual, "class_embedding"):
        return Tokens(prefix=1)
    trunk = getattr(visual, "trunk", None)
    return Tokens(
        prefix=int(getattr(trunk, "num_prefix_tokens", 0) or 0),
        channels_last=getattr(trunk, "output_fmt", "NCHW") == "NHWC",
    )


def _input_rule(model: str, facts: dict[str, Any]) -> InputRule:
    """open_clip's evaluation transform: shorter side and centre crop, or a squash; mean and std of the tag."""
    height, width = _size(model)
    interpolation: Any = facts.get("interpolation", "bicubic")
    mode = facts.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash") or (mode == "shortest" and height != width):
        raise OptionError(f"clip:{model} wants the resize mode {mode!r} at {height}x{width}, which is not supported")
    steps: tuple[Step, ...] = (
        (Squash(height, width, interpolation),)
        if mode == "squash"
        else (ShorterSide(height, interpolation), CenterCrop(height, width))
    )
    return InputRule(steps, tuple(facts["mean"]), tuple(facts["std"]))
