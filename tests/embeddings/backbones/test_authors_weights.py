"""Detectors with their authors' own weights behave as measured with the authors' code."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.weights.locate import resolve

# measured with the authors' code on the native track, each generator against all 120 natural files
FERRETNET = {"all": 0.888, "ldm": 0.978, "dalle-mini": 0.986, "sd3": 0.513}


@pytest.mark.slow
def test_ferretnets_own_head_separates_native_files_as_the_authors_code_does(shared: Path) -> None:
    backbone = create("ferretnet")
    backbone.load(device="cpu", weights=resolve(backbone.card, cache=shared / "weights"))
    with (shared / "data" / "manifest.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["track"] == "native"]
    scores, sources = [], []
    for row in rows:
        with Image.open(shared / "data" / row["path"]) as file:
            image = backbone.preprocess(file.convert("RGB"))
        scores.append(float(backbone.embed(torch.from_numpy(image)[None])["logit"]))
        sources.append(row["source"] if row["synthetic"] == "1" else "natural")

    source, score = np.array(sources), np.array(scores)

    assert (source == "natural").sum() == 120
    for name, wanted in FERRETNET.items():
        rows_of = np.ones(len(source), bool) if name == "all" else np.isin(source, ["natural", name])
        auroc = roc_auc_score(source[rows_of] != "natural", score[rows_of])
        assert auroc == pytest.approx(wanted, abs=0.01), name


@pytest.mark.parametrize("spec", ["ferretnet", "tiny-ladeda", "tiny-ladeda:forensynth"])
def test_files_in_the_cache_folder_load_by_name(spec: str, shared: Path) -> None:
    backbone = create(spec)
    backbone.load(device="cpu", weights=resolve(backbone.card, cache=shared / "weights"))

    (file,) = backbone.card.weights
    assert backbone.weights_sha256["net"] == file.sha256
