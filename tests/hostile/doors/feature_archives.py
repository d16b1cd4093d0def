"""FiSeR's feature archives, which ``import`` turns into stores: a zip and an older file of torch.save."""

from pathlib import Path

import torch

from fewshot.embeddings.store.fiser_archive import import_archive


def originals(folder: Path) -> list[Path]:
    content = {
        "embeddings": {3: torch.eye(6, 4).to(torch.bfloat16), "last": torch.ones(6, 2) / 3},
        "ids": torch.arange(6),
        "labels": torch.tensor([2, 0, 1, 2, 0, 1]),
        "binary_labels": [1, 0, 1, 1, 0, 1],
        "classes": ["nature", "b-net", "a-net"],
        "metadata": {"normalized": True, "model_name": "dinov3", "layers": [3, "last"]},
    }
    torch.save(content, folder / "zip.pt")
    torch.save(content, folder / "older.pt", _use_new_zipfile_serialization=False)
    return [folder / "zip.pt", folder / "older.pt"]


def enter(path: Path) -> None:
    import_archive(path, path.with_suffix(".h5"))
