"""Checkpoints that are damaged, of other kinds, or hold what a network cannot take are refused by one sentence."""

import argparse
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fewshot.core.errors import WeightsError
from fewshot.embeddings.weights.checkpoint import fill_strictly, read_checkpoint, renamed
from fewshot.embeddings.weights.convert import convert
from fewshot.embeddings.weights.torch_file import TorchFileError, load_plain
from tests.hostile.unsuitable import make_unsuitable

WEIGHT = torch.arange(6.0).reshape(2, 3)


def saved(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "net.pth"
    torch.save(content, path, **options)
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write the zip again with changed members, whose checksums are those of the changed bytes."""
    with zipfile.ZipFile(path) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, change(name, content))
    return path


def quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8)


# -- the container -----------------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_the_values_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path, {"weight": torch.arange(64.0)})
    sound = path.read_bytes()
    start = sound.index(torch.arange(64.0).numpy().tobytes())
    for bit in range(0, 64 * 32, 37):
        flipped = bytearray(sound)
        flipped[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(
            WeightsError, match=r"net\.pth is truncated or damaged \(its member .*checksum.*fetch it again"
        ):
            read_checkpoint(path)


def test_no_flipped_bit_anywhere_changes_a_value(tmp_path: Path) -> None:
    path = saved(tmp_path, {"weight": torch.arange(64.0)})
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(sound), 200):
        flipped = bytearray(sound)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with suppress(WeightsError):
            assert torch.equal(read_checkpoint(path)["weight"], torch.arange(64.0))


def test_compressed_members_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = rewritten(
        saved(tmp_path, {"weight": torch.zeros(1 << 20)}), lambda _, content: content, compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(WeightsError, match=r"members are compressed or encrypted, which torch.save never does"):
        read_checkpoint(path)


def test_a_file_saved_without_checksums_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path, {"weight": WEIGHT})
    finally:
        torch.serialization.set_crc32_options(True)
    with pytest.raises(WeightsError, match="saved without checksums; save it with them"):
        read_checkpoint(path)


def test_an_older_file_without_a_zip_is_read_and_its_length_is_checked(tmp_path: Path) -> None:
    path = saved(tmp_path, {"weight": WEIGHT}, _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(path)["weight"], WEIGHT)
    for content in (path.read_bytes() + b"x", path.read_bytes()[:-1]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="is truncated or damaged"):
            read_checkpoint(path)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_newer_pickle_protocol_is_refused_as_unpickling(legacy: bool, tmp_path: Path) -> None:
    path = saved(tmp_path, {"weight": WEIGHT}, pickle_protocol=4, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="would have to be unpickled"):
        read_checkpoint(path)


FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "zeros": (bytes(1 << 16), "it begins with zeros"),
    "page": (b"\n<!DOCTYPE html><html>404</html>", "it is a web page"),
    "pickle": (b"\x80\x04K\x01.", "it is a pickle that torch.save did not write"),
    "safetensors": ((8).to_bytes(8, "little") + b"{}      ", "it looks like a safetensors file"),
    "text": (b"weights", "it begins with b'weights'"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_named_as_what_it_is(kind: str, tmp_path: Path) -> None:
    content, found = FOREIGN[kind]
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"is damaged or not a weight file of torch \({found}"):
        read_checkpoint(path)
    with pytest.raises(WeightsError, match=rf"net\.pth cannot be converted: {found}"):
        convert(path, tmp_path / "net.safetensors")


def test_another_zip_archive_is_named_as_such(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", weight=np.ones(3))
    with pytest.raises(WeightsError, match=r"a zip archive that torch.save did not write"):
        read_checkpoint(tmp_path / "net.npz")


def test_torchscript_is_refused_and_can_be_converted(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(3, 2)), str(tmp_path / "script.pth"))
        with pytest.raises(WeightsError, match=r"is refused \(it is a TorchScript archive\)"):
            read_checkpoint(tmp_path / "script.pth")
        assert convert(tmp_path / "script.pth", tmp_path / "script.safetensors") == 2


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
def test_pipes_devices_and_large_holes_are_refused_at_once(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    make_unsuitable(path, kind)
    for read in (read_checkpoint, lambda source: convert(source, tmp_path / "new.safetensors")):
        with pytest.raises(WeightsError, match=r"named pipe|device|begins with zeros|not a safetensors file"):
            read(path)


def test_a_file_larger_than_the_free_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, {"weight": WEIGHT})
    monkeypatch.setattr("fewshot.embeddings.weights.torch_file.free_bytes", lambda: 100)
    with pytest.raises(WeightsError, match=r"too large to be read: .* of memory are free"):
        read_checkpoint(path)


def test_more_bytes_than_the_file_has_are_not_made(tmp_path: Path) -> None:
    class Conjured:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.Tensor, (1 << 28,)  # a call that torch's reader of plain values allows

    path = saved(tmp_path, {"weight": Conjured()})
    with pytest.raises(TorchFileError, match=r"its tensors need 1073741824 bytes, and it has \d+"):
        load_plain(path)


# -- what the mapping holds --------------------------------------------------------------------------------------------

ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "sparse": (lambda: WEIGHT.to_sparse(), r"a sparse tensor \(sparse_coo\)"),
    "meta": (lambda: WEIGHT.to("meta"), "on the device 'meta', without values"),
    "quantised": (quantised, r"quantised \(qint8\)"),
    "complex": (lambda: WEIGHT.to(torch.complex64), "complex64"),
    "float8": (lambda: WEIGHT.to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "expanded": (lambda: torch.ones(1).expand(10**6, 10**6), "expanded: 4000000000000 bytes declared, 4 in the file"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_not_a_plain_dense_tensor_is_refused_by_its_key(kind: str, tmp_path: Path) -> None:
    make, found = ODD[kind]
    path = saved(tmp_path, {"model": {"module.conv.weight": make()}})
    with pytest.raises(
        WeightsError, match=rf"net\.pth holds other tensors than plain dense ones: conv\.weight is {found}"
    ):
        read_checkpoint(path)
    with pytest.raises(WeightsError, match=rf"conv\.weight is {found}; nothing was written"):
        convert(path, tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()


def test_parameters_views_and_other_strides_are_read(tmp_path: Path) -> None:
    state = {"a": nn.Parameter(WEIGHT), "b": WEIGHT.T, "c": WEIGHT[1:], "d": torch.empty(0, 3), "e": torch.tensor(2)}
    read = read_checkpoint(saved(tmp_path, state))
    assert all(torch.equal(read[key], state[key]) for key in state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_keys_that_collide_without_their_prefixes_are_named(suffix: str, tmp_path: Path) -> None:
    state = {"module.weight": WEIGHT, "_orig_mod.weight": WEIGHT + 1}
    path = tmp_path / f"net{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"model": state}, path)
    with pytest.raises(WeightsError, match=r"net\.\w+: the keys '.*weight' and '.*weight' both name 'weight'"):
        read_checkpoint(path)


def test_keys_that_collide_under_other_names_are_named() -> None:
    with pytest.raises(ValueError, match="the keys 'a' and 'A' both name 'a'"):
        renamed({"a": WEIGHT, "A": WEIGHT}, str.lower)


def test_keys_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not hold a plain state_dict: 1; known wrappers"):
        read_checkpoint(saved(tmp_path, {1: WEIGHT, "1": WEIGHT}))


def test_two_networks_beside_each_other_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": {"weight": WEIGHT}, "model": {"weight": WEIGHT + 1}})
    with pytest.raises(WeightsError, match=r"holds several networks \(model, state_dict\)"):
        read_checkpoint(path)


def test_a_mapping_that_holds_itself_ends(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["model"] = endless
    path = saved(tmp_path, endless)
    for read in (read_checkpoint, lambda source: convert(source, tmp_path / "new.safetensors")):
        with pytest.raises(WeightsError, match="does not hold a plain state_dict: model"):
            read(path)


# -- what the network takes --------------------------------------------------------------------------------------------


def filled(given: Tensor, own: Tensor) -> Tensor:
    network = nn.Module()
    network.register_buffer("conv", own)
    fill_strictly(network, {"conv": given}, ignorable=(), what="net.pth for backbone 'tiny'")
    return network.get_buffer("conv")


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool])
def test_whole_numbers_never_become_weights(dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    wanted = rf"net\.pth for backbone 'tiny' cannot be used: conv is {name} where the network has float32; give this"
    with pytest.raises(WeightsError, match=wanted):
        filled(torch.ones(3).to(dtype), torch.zeros(3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_floats_of_every_width_become_the_networks_own(dtype: torch.dtype) -> None:
    assert torch.equal(filled(torch.tensor([0.5, -2.0], dtype=dtype), torch.zeros(2)), torch.tensor([0.5, -2.0]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_values_that_are_not_finite_in_the_network_are_refused(value: float) -> None:
    given = torch.tensor([1.0, value], dtype=torch.float64)
    with pytest.raises(WeightsError, match="conv is not finite: 1 of 2 values are NaN or infinite as float32"):
        filled(given, torch.zeros(2))


def test_a_mask_that_the_network_builds_of_infinite_values_may_hold_them() -> None:
    mask = torch.full((2, 2), -float("inf")).triu(1)
    assert torch.equal(filled(mask.clone(), mask), mask)
    with pytest.raises(WeightsError, match="not finite"):
        filled(mask.T.clone(), mask)


def test_counters_and_positions_stay_whole_numbers() -> None:
    assert filled(torch.tensor(7, dtype=torch.int32), torch.tensor(0)).item() == 7
    assert filled(torch.tensor([0.0, 3.0]), torch.tensor([0, 0])).tolist() == [0, 3]
    for given in (torch.tensor([0.5, 1.0]), torch.tensor([float("nan"), 1.0])):
        with pytest.raises(WeightsError, match="conv is float32 with values that int64 cannot hold"):
            filled(given, torch.tensor([0, 0]))


def test_harmless_holders_of_values_are_made(tmp_path: Path) -> None:
    content = load_plain(saved(tmp_path, {"args": argparse.Namespace(rate=0.1)}), harmless=(argparse.Namespace,))
    assert content["args"].rate == 0.1
