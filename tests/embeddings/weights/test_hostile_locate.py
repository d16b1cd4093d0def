"""Weight files that a user names, or that lie in the cache: pipes, devices, holes, odd paths and damaged pins."""

import os
from pathlib import Path

import pytest

from fewshot.core.errors import WeightsError
from fewshot.embeddings.card import BackboneCard, WeightFile
from fewshot.embeddings.inputs.rule import InputRule
from fewshot.embeddings.weights.locate import PINS, digests_of, resolve
from tests.hostile.unsuitable import make_unsuitable

NET = WeightFile("net.bin")
CARD = BackboneCard(name="tiny", layers={"feature": 2}, layer="feature", input=InputRule(), weights=(NET,))


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "sparse of 100 GB"])
def test_what_is_no_weight_file_is_refused_before_it_is_hashed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.bin"
    make_unsuitable(path, kind)
    said = r"net\.bin (cannot be read: it is a|cannot be read: it has|begins with 4096 zero bytes)"

    with pytest.raises(WeightsError, match=said):
        digests_of(CARD, resolve(CARD, [f"tiny={path}"]))
    with pytest.raises(WeightsError, match=said):
        resolve(CARD, cache=tmp_path)


def test_a_folder_without_a_weight_file_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(WeightsError, match=r"/ holds neither model\.safetensors nor pytorch_model\.bin"):
        digests_of(CARD, {"net": Path("/")})


@pytest.mark.parametrize("value", ["~nobody-of-this-name/net.bin", "x" * 5000, "a\0b", "net.bin/more"])
def test_a_path_that_the_system_does_not_take_is_no_file(value: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"--weights tiny\.net="):
        resolve(CARD, [f"tiny={value}"], cache=tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b'{"net.bin": 3}', b'{"net.bin": null}', b"{" * 100_000, b"[" * 100_000, b"\xff"]
)
def test_damaged_pins_are_said_and_not_made_again(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"hello")
    (tmp_path / PINS).write_bytes(content)
    with pytest.raises(WeightsError, match=r"pins\.json, which holds the SHA-256 .*cannot be read .*delete it if you"):
        resolve(CARD, cache=tmp_path)
    assert (tmp_path / PINS).read_bytes() == content


def test_pins_that_are_a_pipe_or_endless_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"hello")
    for put in (lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero")):
        put(tmp_path / PINS)
        with pytest.raises(WeightsError, match=r"pins\.json, .* cannot be read \(it is a"):
            resolve(CARD, cache=tmp_path)
        (tmp_path / PINS).unlink()
