"""Checkpoints are read without trust, unwrapped in every documented form, and fitted key by key."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fewshot.core.errors import WeightsError
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.weights.checkpoint import fill_seeded, fill_strictly, read_checkpoint
from fewshot.embeddings.weights.unset import UnsetParameters

STATE = {"conv.weight": torch.arange(4.0).reshape(4, 1), "conv.bias": torch.ones(4)}


def wrapped(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda state: {name: state, "optimizer": {"step": torch.tensor(3)}, "epoch": 7}


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": lambda state: state,
    **{name: wrapped(name) for name in ("model", "state_dict", "model_state_dict", "netC", "net", "encoder")},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "_orig_mod.module.": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
    "model > state_dict": lambda state: {"model": {"state_dict": state}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_documented_wrapper_gives_the_same_tensors(wrapping: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(WRAPPINGS[wrapping](STATE), path)

    read = read_checkpoint(path)

    assert list(read) == list(STATE)
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


def test_an_entry_of_a_file_of_several_networks_is_read_and_other_files_as_ever(tmp_path: Path) -> None:
    centre = {"center_real": torch.ones(3)}
    torch.save({"model": STATE, "cl_model": centre}, tmp_path / "both.pth")
    torch.save(centre, tmp_path / "alone.pth")

    assert list(read_checkpoint(tmp_path / "both.pth")) == list(STATE)
    for name in ("both.pth", "alone.pth"):
        assert list(read_checkpoint(tmp_path / name, entry="cl_model")) == list(centre)


def test_what_fsd_saves_beside_its_network_is_read_without_unpickling(tmp_path: Path) -> None:
    """util/utils.py, save_model: through dill, which writes for these values the bytes that pickle writes."""
    network = nn.Linear(1, 4)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    network(torch.ones(2, 1)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=80_000, gamma=0.5)
    arguments = argparse.Namespace(model="resnet50", exclude_class="ADM", use_fp16=True, seed=None)
    steps = {"step": 200_000, "effective_step": 200_000, "scaler": {"scale": 65536.0, "_growth_tracker": 5}}
    states = {"model": network.state_dict(), "optimizer": optimiser.state_dict(), "scheduler": schedule.state_dict()}
    torch.save({**steps, **states, "args": arguments}, tmp_path / "resnet50_step[200000].pth")

    read = read_checkpoint(tmp_path / "resnet50_step[200000].pth")

    assert list(read) == ["weight", "bias"]
    assert torch.equal(read["weight"], network.weight)


def test_safetensors_and_hugging_face_folders_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")

    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert torch.equal(read_checkpoint(path)["conv.weight"], STATE["conv.weight"])


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was-run",)


def test_a_file_that_would_run_code_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Malicious()}, "evil.pth")

    with pytest.raises(WeightsError, match=r"evil\.pth would have to be unpickled.*fewshot weights convert"):
        read_checkpoint(Path("evil.pth"))

    assert not Path("was-run").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_named_as_such(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    save_file(STATE, path) if suffix == ".safetensors" else torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:150])

    with pytest.raises(WeightsError, match=rf"cut{suffix} is (truncated|damaged).*fetch it again"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x00" * 64])
def test_a_file_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.pth"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"page\.pth is (damaged|truncated) or not a weight file of torch"):
        read_checkpoint(path)


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.pth"
    torch.save({"epoch": 3}, path)

    with pytest.raises(WeightsError, match=r"does not hold a plain state_dict: epoch; known wrappers are model"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"weight": torch.ones(2, 3)}, r"1 missing keys \(bias\)"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "scale": torch.ones(1)}, r"1 unexpected keys \(scale\)"),
        ({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, r"1 shapes differ \(weight \(3, 2\) for \(2, 3\)\)"),
    ],
)
def test_keys_that_do_not_fit_are_named(state: dict[str, Tensor], complaint: str) -> None:
    with pytest.raises(WeightsError, match=f"mine.pth does not fit the network: {complaint}"):
        fill_strictly(nn.Linear(3, 2), state, ignorable=(), what="mine.pth")


def test_documented_ignorable_keys_may_stand_in_the_file() -> None:
    network = nn.Linear(3, 2)
    state = {"weight": torch.full((2, 3), 5.0), "bias": torch.zeros(2), "text.weight": torch.ones(9)}

    fill_strictly(network, state, ignorable=(r"text\..*",), what="mine.pth")

    assert torch.equal(network.weight.detach(), torch.full((2, 3), 5.0))


def test_the_filler_gives_the_check_values_of_the_recipe() -> None:
    template = {
        "conv1.weight": torch.zeros(64, 3, 7, 7),
        "bn1.running_var": torch.zeros(64),
        "fc.weight": torch.zeros(1, 2048),
        "bn1.num_batches_tracked": torch.tensor(9),
        "lod": torch.tensor(0.5),
    }

    state = fill_seeded(template, RandomWeights(), kept=("lod",))

    torch.testing.assert_close(state["conv1.weight"].flatten()[:3], torch.tensor([0.0157930, -0.2403293, -0.0326992]))
    torch.testing.assert_close(state["bn1.running_var"][:2], torch.tensor([1.0430939, 1.1125517]))
    torch.testing.assert_close(state["fc.weight"].flatten()[:2], torch.tensor([0.0623610, -0.0308226]))
    assert int(state["bn1.num_batches_tracked"]) == 0
    assert float(state["lod"]) == 0.5


def test_a_prefix_changes_the_values_as_if_the_key_had_it() -> None:
    with_prefix = fill_seeded({"weight": torch.zeros(3, 3)}, RandomWeights(prefix="layer."))
    without = fill_seeded({"layer.weight": torch.zeros(3, 3)}, RandomWeights())

    assert torch.equal(with_prefix["weight"], without["layer.weight"])


def test_unset_network_has_the_constants_and_no_random_values() -> None:
    with UnsetParameters():
        layer, norm = nn.Linear(3, 4), nn.BatchNorm2d(2)
        nn.init.trunc_normal_(layer.weight, std=0.02)
    assert not layer.weight.any()
    assert not layer.bias.any()
    assert norm.weight.tolist() == [1.0, 1.0]
    assert nn.Linear(3, 4).weight.any()
