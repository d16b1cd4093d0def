"""A device is read in one way, and one that is named is never replaced by another."""

import subprocess
import sys

import pytest
import torch

from fewshot.core.device import DeviceName, parse_device, torch_device
from fewshot.core.errors import DeviceError


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("auto", DeviceName("auto")),
        ("cpu", DeviceName("cpu")),
        ("cuda", DeviceName("cuda")),
        ("cuda:0", DeviceName("cuda", 0)),
        ("cuda:12", DeviceName("cuda", 12)),
    ],
)
def test_the_four_forms_are_read(text: str, parsed: DeviceName) -> None:
    assert parse_device(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:0,cuda:1", "mps", "cpu:0", "٣"]
)
def test_anything_else_is_refused_with_the_option_the_value_and_the_forms(text: str) -> None:
    with pytest.raises(DeviceError) as refused:
        parse_device(text, option="--on")
    assert str(refused.value) == f"--on {text!r} is not a device; give auto, cpu, cuda or cuda:N"


def pretend(monkeypatch: pytest.MonkeyPatch, *, devices: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)


def test_auto_takes_cuda_where_there_is_one_and_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, devices=0)
    assert torch_device("auto") == torch.device("cpu")
    pretend(monkeypatch, devices=2)
    assert torch_device("auto") == torch.device("cuda")


def test_a_named_device_is_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, devices=2)

    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("cuda") == torch.device("cuda")
    assert torch_device("cuda:1") == torch.device("cuda:1")


def test_a_named_device_that_is_not_there_is_refused_and_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, devices=0)
    for name in ("cuda", "cuda:0"):
        with pytest.raises(DeviceError, match=f"--device {name}: this machine has no CUDA device that torch can use"):
            torch_device(name)
    pretend(monkeypatch, devices=2)
    with pytest.raises(DeviceError, match="--device cuda:2: the last CUDA device of this machine is cuda:1; give one"):
        torch_device("cuda:2")


def test_reading_a_device_loads_no_torch() -> None:
    code = "import sys; from fewshot.core.device import parse_device as p; p('cuda:1'); print('torch' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
