"""Headers of packed networks: wrong types, contradictions, foreign names and flipped bits are refused by a sentence."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fewshot.core.errors import FewshotError, OptionError, WeightsError
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.backbones.trained import read_reference, write_weight_file
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.inputs.rule import rule_from_json
from fewshot.embeddings.reference import BackboneReference
from tests.hostile.unsuitable import make_unsuitable

BACKBONE = "tiny-ladeda"
RULE = {"steps": [{"step": "Squash", "height": 64, "width": 64}], "mean": None, "std": None, "divisor": 255.0}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "mine.safetensors"
    write_weight_file(path, create(BACKBONE).fill(RandomWeights()), name="mine")
    return path


def forged(packed: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Write the file again with another header, without a seal, as files of earlier versions have none."""
    header = read_reference(packed).to_json()
    header = change(header) or header
    path = folder / "forged.safetensors"
    save_file(load_file(packed), path, metadata={"fewshot": json.dumps(header)})
    return path


HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "name of another type": ({"name": 3}, "holds no reference of a backbone"),
    "name of fewshot's": ({"name": "npr"}, "its name 'npr' is a backbone's of fewshot"),
    "name of fewshot's with a variant": ({"name": "npr:x"}, "its name 'npr:x' is a backbone's of fewshot"),
    "empty name": ({"name": " "}, "its name ' ' is none"),
    "name of a folder": ({"name": ".."}, r"its name '\.\.' is none"),
    "name without end": ({"name": "x" * 300}, "is none"),
    "name with an escape": ({"name": "a\x1b[2J"}, "has control characters"),
    "name of half a character": ({"name": "a\ud800"}, "has control characters"),
    "note with a line": ({"note": "a\nfewshot: all is well"}, "has control characters"),
    "note without end": ({"note": "x" * 20_000}, "has control characters or no end"),
    "layers of numbers": ({"layers": [1]}, r"not readable \(Expected `str`, got `int`"),
    "layers of text": ({"layers": "feature"}, "not readable"),
    "layers twice": ({"layers": ["feature", "feature"]}, "a layer stands there twice"),
    "unknown layer": ({"layers": ["nobodys"], "layer": ""}, "there is no layer"),
    "unknown base": ({"base": "nobody"}, "there is no backbone 'nobody'"),
    "base of a file": ({"base": "other.safetensors"}, r"there is no backbone 'other\.safetensors'"),
    "unknown variant": ({"base": f"{BACKBONE}:nobodys"}, "there is no variant"),
    "default layer": ({"layer": "nobodys"}, "its default layer 'nobodys' is not among them"),
    "head": ({"head_layer": "nobodys"}, "its head reads 'nobodys', which is not among them"),
    "weights": ({"weights": {"net": 3}}, "not readable"),
    "digest": ({"digest": "00"}, "other values than its header says"),
    "no digest": ({"digest": ""}, "lacks the base, the layers or the digest"),
    "rule of another type": ({"rule": [1]}, "not readable"),
    "rule of no step": ({"rule": {**RULE, "steps": [3]}}, "the input rule .* cannot be used"),
    "rule of text": ({"rule": {**RULE, "steps": [{"step": "Squash", "height": "64", "width": 64}]}}, "cannot be used"),
    "rule without end": (
        {"rule": {**RULE, "steps": [{"step": "Squash", "height": 10**6, "width": 1}]}},
        "16384 pixels",
    ),
    "rule of no mean": ({"rule": {**RULE, "mean": [1, 2], "std": [1, 1, 1]}}, "three finite numbers"),
    "rule of no spread": ({"rule": {**RULE, "mean": [0, 0, 0], "std": [1, 0, 1]}}, "must be positive"),
    "rule of no divisor": ({"rule": {**RULE, "divisor": 0}}, "must be positive"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_cannot_be_ours_is_refused(kind: str, packed: Path, tmp_path: Path) -> None:
    changes, message = HEADERS[kind]
    path = forged(packed, tmp_path, lambda header: {**header, **changes})
    with pytest.raises(FewshotError, match=message):
        create(str(path)).fill({"net": path})


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{", '{"name": NaN}', "[" * 100_000, '{"a":' * 100_000])
def test_a_header_that_is_no_object_is_refused(text: str, packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "forged.safetensors"
    save_file(load_file(packed), path, metadata={"fewshot": text})
    with pytest.raises(WeightsError, match=r"the header of .*forged\.safetensors"):
        create(str(path))


def test_a_file_without_a_seal_is_still_read(packed: Path, tmp_path: Path) -> None:
    path = forged(packed, tmp_path, lambda header: None)
    assert read_reference(path) == read_reference(packed)
    create(str(path)).fill({"net": path})


def test_no_flipped_bit_of_a_packed_network_changes_anything_silently(packed: Path, tmp_path: Path) -> None:
    sound = packed.read_bytes()
    header_bytes = 8 + int.from_bytes(sound[:8], "little")
    reference, state = read_reference(packed), load_file(packed)
    path = tmp_path / "flipped.safetensors"
    rng = random.Random(0)
    refused = 0
    for number in range(300):
        flipped = bytearray(sound)
        flipped[rng.randrange(header_bytes if number % 2 else len(sound))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            loaded = create(str(path)).fill({"net": path})
        except FewshotError:
            refused += 1
            continue
        assert read_reference(path) == reference
        own = loaded.network.state_dict()
        assert all(torch.equal(own[key], state[key]) for key in state)
    assert refused > 250


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "folder", "none"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    if kind != "none":
        make_unsuitable(path, kind)
    with pytest.raises(WeightsError, match=r"there is no weight file .* \(|not a safetensors file"):
        create(str(path))


@pytest.mark.parametrize("name", ["..", "a\nb", "a\0b", "\ud800", "x" * 300])
def test_a_name_that_no_store_carries_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--name .* means a folder, has control characters, or more than 255 bytes"):
        write_weight_file(tmp_path / "a.safetensors", create(BACKBONE), name=name)
    assert list(tmp_path.iterdir()) == []


def test_a_step_takes_no_numbers_of_others() -> None:
    with pytest.raises(OptionError, match="Squash takes no pixels"):
        rule_from_json({**RULE, "steps": [{"step": "Squash", "height": 1, "width": 1, "pixels": 3}]})


def test_fields_of_later_versions_are_passed_over() -> None:
    assert BackboneReference.from_json({"name": "x", "later": [1]}, where="here") == BackboneReference("x")


def test_the_home_of_nobody_is_a_sentence() -> None:
    with pytest.raises(WeightsError, match=r"~nobody-of-this-name/x\.safetensors: .*; write the path out"):
        create("~nobody-of-this-name/x.safetensors")
