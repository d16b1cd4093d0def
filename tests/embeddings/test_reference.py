"""References of backbones, and weight files of ours that carry one: packed, read back, embedded, queried, damaged."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from torch import nn

import fewshot
from fewshot.cli import group
from fewshot.core.errors import FewshotError, OptionError, OutputError, WeightsError
from fewshot.embeddings.backbones.base import Backbone
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.trained import Trained, read_reference, write_weight_file
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.inputs.opencv import OpencvSquash
from fewshot.embeddings.inputs.rule import InputRule, rule_from_json, rule_to_json
from fewshot.embeddings.inputs.transforms import CenterCrop, ShorterSide
from fewshot.embeddings.reference import BackboneReference
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.query import from_images

pytestmark = pytest.mark.usefixtures("fakes")


def filled(name: str) -> Backbone:
    return create(name).fill(RandomWeights())


def packed(folder: Path, name: str = "tiny-ladeda", **options: Any) -> Path:
    path = folder / "mine.safetensors"
    write_weight_file(path, filled(name), name="mine", **options)
    return path


def test_a_reference_survives_json() -> None:
    reference = BackboneReference("mine", ("a", "b"), {"net": "12"}, "squash", base="npr", layer="a", digest="9")

    again = BackboneReference.from_json(json.loads(json.dumps(reference.to_json())), where="here")

    assert again == reference


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"name": 3}, {"name": "x", "layers": "ab"}, {"name": "x", "weights": []}, {"name": "x", "base": 1}],
)
def test_what_is_no_reference_is_refused_with_where_it_stands(document: Any) -> None:
    with pytest.raises(WeightsError, match="the header of x"):
        BackboneReference.from_json(document, where="the header of x")


def test_an_input_rule_survives_json() -> None:
    rule = InputRule((ShorterSide(256), CenterCrop(224, 224, "down")), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    other = InputRule((OpencvSquash(32, 40),), divisor=1.0)

    for each in (rule, other, InputRule()):
        assert rule_from_json(json.loads(json.dumps(rule_to_json(each)))) == each
    with pytest.raises(OptionError, match="known steps are"):
        rule_from_json({"steps": [{"step": "Nobodys"}], "mean": None, "std": None, "divisor": 255})


def test_a_filled_network_can_be_trained_and_a_frozen_one_cannot() -> None:
    backbone = filled("tiny-ladeda")
    assert all(parameter.requires_grad for parameter in backbone.network.parameters())
    assert backbone.network.training

    backbone.freeze("cpu")

    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    assert not backbone.network.training


def test_a_packed_network_gives_the_rows_of_the_backbone_it_was_packed_from(tree: Path, tmp_path: Path) -> None:
    file = packed(tmp_path)
    run: dict[str, Any] = {"quiet": True, "workers": 0}

    mine = fewshot.embed(tree, backbones=str(file), out=tmp_path / "mine.h5", **run)
    plain = fewshot.embed(tree, backbones="tiny-ladeda", weights=["all=random"], out=tmp_path / "a.h5", **run)

    assert mine.backbones == ("mine",)
    assert mine.layer_names("mine") == plain.layer_names("tiny-ladeda")
    for layer in (*plain.layer_names("tiny-ladeda"), "logit"):
        np.testing.assert_array_equal(mine.read(None, "mine", layer), plain.read(None, "tiny-ladeda", layer))
    recorded = mine.info("mine", mine.default_layer("mine")).provenance["reference"]
    assert (recorded["base"], recorded["name"]) == ("tiny-ladeda", "mine")
    assert recorded["licence"] == create("tiny-ladeda").card.licence


def test_a_query_finds_the_weight_file_by_its_name_in_the_store(tree: Path, tmp_path: Path) -> None:
    file = packed(tmp_path)
    store = fewshot.embed(tree, backbones=str(file), out=tmp_path / "a.h5", quiet=True, workers=0, batch_size=1)
    images = [tree / path for path in store.column("path")[:3]]

    found = from_images(SourceIndex(store), images, weights=[f"mine={file}"], workers=0)

    layer = store.default_layer("mine")
    np.testing.assert_array_equal(found.features, store.read(np.arange(3), "mine", layer))
    with pytest.raises(WeightsError, match=r"'mine' is a weight file of yours .* --weights mine=FILE\.safetensors"):
        from_images(SourceIndex(store), images, workers=0)


def test_a_head_of_its_own_gives_the_logit(tmp_path: Path) -> None:
    backbone = filled("mean-colour")
    head = nn.Linear(3, 1)
    write_weight_file(tmp_path / "h.safetensors", backbone, name="headed", head=head, head_layer="variance")

    loaded = create(str(tmp_path / "h.safetensors")).load(device="cpu", weights={"net": tmp_path / "h.safetensors"})
    batch = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    found = loaded.embed(batch)

    expected = head(backbone.freeze("cpu").embed(batch)["variance"])
    torch.testing.assert_close(found["logit"], expected.detach())


def test_a_damaged_value_or_header_is_refused(tmp_path: Path, fakes: ModuleType) -> None:
    file = packed(tmp_path)
    header = read_reference(file).to_json()
    tensors = load_file(file)
    first = next(name for name, values in tensors.items() if values.dtype == np.float32)
    changed = {**tensors, first: tensors[first] + 1}

    def written(name: str, values: Any, metadata: dict[str, str] | None) -> Path:
        save_file(values, tmp_path / name, metadata=metadata)
        return tmp_path / name

    flipped = written("flipped.safetensors", changed, {"fewshot": json.dumps(header)})
    with pytest.raises(WeightsError, match="holds other values than its header says"):
        create(str(flipped)).fill({"net": flipped})
    for name, metadata, message in (
        ("foreign", None, "does not say which network it fills; if it is a checkpoint"),
        ("torn", {"fewshot": "{"}, "the header of .* cannot be read"),
        ("bare", {"fewshot": json.dumps({"name": "x"})}, "lacks the base, the layers or the digest"),
        ("lost", {"fewshot": json.dumps({**header, "base": "nobody"})}, "there is no backbone 'nobody'"),
    ):
        with pytest.raises(FewshotError, match=message):
            create(str(written(f"{name}.safetensors", tensors, metadata)))
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:100])
    with pytest.raises(WeightsError, match="is damaged or not a safetensors file"):
        create(str(tmp_path / "cut.safetensors"))
    with pytest.raises(WeightsError, match="there is no weight file"):
        create(str(tmp_path / "none.safetensors"))


def test_a_name_that_is_taken_or_a_file_that_is_there_is_refused(tmp_path: Path) -> None:
    backbone = filled("tiny-ladeda")
    with pytest.raises(OptionError, match="--name 'npr' is empty or names a backbone of fewshot"):
        write_weight_file(tmp_path / "a.safetensors", backbone, name="npr")
    with pytest.raises(OutputError, match="must be a new file"):
        write_weight_file(packed(tmp_path), backbone, name="mine")
    with pytest.raises(OutputError, match="must be a new file whose name ends in"):
        write_weight_file(tmp_path / "a.pth", backbone, name="mine")


def test_random_weights_for_a_weight_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="brings its own"):
        create(str(packed(tmp_path))).fill(RandomWeights())


def test_the_command_packs_what_embed_then_takes(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "p.safetensors"
    pack = ["weights", "pack", "tiny-ladeda", "-o", str(target), "--name", "ours", "--weights", "tiny-ladeda=random"]

    made = CliRunner().invoke(group, pack)
    shown = CliRunner().invoke(group, ["embed", str(tree), "-b", str(target), "-o", str(tmp_path / "a.h5"), "-q"])

    assert made.exit_code == 0, made.stderr
    assert "ours: the network of tiny-ladeda" in made.stdout
    assert shown.exit_code == 0, shown.stderr
    assert isinstance(create(str(target)), Trained)
