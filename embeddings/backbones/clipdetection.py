"""CLIPDetection: CLIP ViT-L/14 with a linear head, in the two forms that benchmarks call by this name."""

from typing import final

from torch import Tensor, nn

from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.inputs.transforms import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    ShorterSide,
    Squash,
)
from fewshot.embeddings.networks.clip import TEXT_TOWER, ImageTower, from_hugging_face
from fewshot.embeddings.weights.checkpoint import State, renamed


@final
class Clipdetection(Backbone):
    """``fiser``: all of it fine-tuned, CLIP's processor; ``aigibench``: only the head, ImageNet's statistics."""

    name = "clipdetection"
    variants = ("fiser", "aigibench")
    ignorable = tuple(rf"model\.{pattern}" for pattern in TEXT_TOWER)

    def make_card(self) -> BackboneCard:
        fiser = self.variant == "fiser"
        processor = InputRule((ShorterSide(224, "bicubic"), CenterCrop(224, 224, "down")), CLIP_MEAN, CLIP_STD)
        public = WeightFile(
            "aigibench-clipdetection.pth",
            licence="CC BY-NC-SA 4.0",
            non_commercial=True,
            manual="take the CLIPDetection checkpoint of Setting-II from huggingface.co/HorizonTEL/AIGIBench",
        )
        own = WeightFile(
            "fiser-clipdetection.pth",
            licence="MIT",
            manual="FiSeR's trained baseline is not public; train it with github.com/heyongxin233/FiSeR",
        )
        return BackboneCard(
            name=self.full_name,
            layers={"feature": 768},
            layer="feature",
            input=processor if fiser else InputRule((Squash(224, 224),), IMAGENET_MEAN, IMAGENET_STD),
            weights=(own if fiser else public,),
            has_logit=True,
            equality="code-equivalent",
            parameters=303_966_977,
            gflops=162.03,
            paper="a baseline of FiSeR, ICML 2026, and of AIGIBench, 2025",
            reference="heyongxin233/FiSeR @ ad2637c; HorizonTEL/AIGIBench @ e9b95f8",
            licence="MIT" if fiser else "CC BY-NC-SA 4.0",
            note="benchmarks mean two different things by this name; see its variants",
        )

    def build(self) -> nn.Module:
        return _ClipDetection()

    def adapt(self, state: State, *, part: str) -> State:
        """Bring FiSeR's Hugging Face names, or AIGIBench's own, to ``model.visual.*`` and ``fc.*``."""
        if not any(key.startswith("backbone.") for key in state):
            return state
        tower = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
        others = {key: value for key, value in state.items() if not key.startswith("backbone.")}
        head = renamed(others, lambda key: key.replace("classifier.", "fc."))
        return {**{f"model.{key}": value for key, value in from_hugging_face(tower).items()}, **head}

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.network, _ClipDetection)
        feature = self.network.model(batch)
        return {"feature": feature, "logit": self.network.fc(feature)}


class _ClipDetection(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = ImageTower("ViT-L-14-quickgelu")
        self.fc = nn.Linear(768, 1)
