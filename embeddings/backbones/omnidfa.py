"""OmniDFA: a native crop and the whole image through two ConvNeXts (Wu et al., arXiv 2509.25682)."""

from typing import final

import torch
from torch import Tensor, nn

from fewshot.embeddings.backbones.base import HEAD, Backbone
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.detector_crops import CropAndWhole
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.training.sphere_centre import SphereCentre

_WIDTH, _HIDDEN, _EMBEDDING = 768, 512, 128
_FILE = "omnidfa.pth"
_MANUAL = (
    "take a checkpoint from huggingface.co/MoeNew/OmniDFA, or with the code eccv from "
    "pan.baidu.com/s/1OxiASGLzQLByYxkGRxKzdg"
)


@final
class Omnidfa(Backbone):
    """``embedding`` (128), in which generators are told apart, from ``crop`` and ``whole`` (768 each) end to end.

    ``logit`` is the running threshold minus the cosine to the learned centre of natural images; both lie in the entry
    ``cl_model`` of the same file.
    """

    name = "omnidfa"
    entries = {"net": "model", HEAD: "cl_model"}  # noqa: RUF012  # never changed

    def make_card(self) -> BackboneCard:
        return BackboneCard(
            name=self.full_name,
            layers={"embedding": _EMBEDDING, "crop": _WIDTH, "whole": _WIDTH},
            layer="embedding",
            input=InputRule((CropAndWhole(224, least=256),)),
            weights=(
                WeightFile(_FILE, licence="none stated", manual=_MANUAL),
                WeightFile(_FILE, part=HEAD, licence="none stated", manual=_MANUAL, optional=True),
            ),
            has_logit=True,
            equality="golden",
            parameters=99_762_112,
            gflops=34.73,
            paper="Wu et al., OmniDFA: Omni AI-Generated Image Detector with Few-Shot Attribution, arXiv 2509.25682",
            reference="teheperinko541/OmniDFA @ 35b9052",
            licence="none stated",
            note="both crops are of the middle and small images are enlarged bilinearly; the authors draw crop and "
            "filter at random, when testing too",
        )

    def build(self) -> nn.Module:
        return nn.ModuleDict({"net": _TwinTower(), HEAD: SphereCentre(_EMBEDDING)})

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        tower = self.network.get_submodule("net")
        crop = tower.get_submodule("backbone1")(batch[:, 0])
        whole = tower.get_submodule("backbone2")(batch[:, 1])
        embedding = tower.get_submodule("mlp")(torch.cat([crop, whole], dim=1))
        found = {"embedding": embedding, "crop": crop, "whole": whole}
        assert isinstance(self.network, nn.ModuleDict)
        if HEAD in self.network:
            centre = self.network[HEAD]
            assert isinstance(centre, SphereCentre)
            found["logit"] = (centre.cosine_threshold - centre.cosines(embedding))[:, None]
        return found


class _TwinTower(nn.Module):
    """The networks by the key names of the authors' files: ``backbone1``, ``backbone2``, ``mlp``."""

    def __init__(self) -> None:
        super().__init__()
        from timm import create_model
        from timm.layers import Mlp

        self.backbone1: nn.Module = create_model("convnext_small", pretrained=False, num_classes=0)
        self.backbone2: nn.Module = create_model("convnext_small", pretrained=False, num_classes=0)
        self.mlp: nn.Module = Mlp(2 * _WIDTH, hidden_features=_HIDDEN, out_features=_EMBEDDING)
