"""Weight files: a zip and an older file of torch.save, and a packed network with its header; read, then filled."""

from pathlib import Path

import torch

from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.trained import write_weight_file
from fewshot.embeddings.card import RandomWeights

_BACKBONE = "tiny-ladeda"


def originals(folder: Path) -> list[Path]:
    backbone = create(_BACKBONE).fill(RandomWeights())
    content = {"model": {f"module.{key}": value for key, value in backbone.network.state_dict().items()}, "epoch": 3}
    torch.save(content, folder / "zip.pth")
    torch.save(content, folder / "older.pth", _use_new_zipfile_serialization=False)
    write_weight_file(folder / "packed.safetensors", backbone, name="mine")
    return [folder / "zip.pth", folder / "older.pth", folder / "packed.safetensors"]


def enter(path: Path) -> None:
    spec = str(path) if path.suffix == ".safetensors" else _BACKBONE
    create(spec).fill({"net": path})
