"""Which tensors are taken from a file: dense values on the CPU, of a number type that the receiver can hold."""

import torch
from torch import Tensor

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def oddity(value: object) -> str:
    """Return in words why a value is not a plain dense tensor of numbers, empty when it is one."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}, not a tensor"
    if type(value) not in (Tensor, torch.nn.Parameter):
        return f"a {type(value).__name__}, not a plain tensor"
    if value.is_nested:
        return "a nested tensor"
    if value.layout != torch.strided:
        return f"a sparse tensor ({str(value.layout).removeprefix('torch.')})"
    if value.device.type != "cpu":
        return f"on the device {value.device.type!r}, without values"
    if value.is_quantized:
        return f"quantised ({type_name(value)})"
    if value.dtype not in (*FLOATS, *_INTEGERS):
        return type_name(value)
    held, declared = value.untyped_storage().nbytes(), value.numel() * value.element_size()
    if declared > held:
        return f"expanded: {declared} bytes declared, {held} in the file"
    return ""


def misfit(given: Tensor, own: Tensor) -> str:
    """Return in words why values cannot take the place of a network's own, empty when they can.

    Floats of any width become the network's own (float64 is rounded), and must be finite there; a mask that the network
    itself builds of infinite values may hold them too. Whole numbers, such as counters and positions, must survive the
    conversion unchanged. Whole numbers never become floats.

    Args:
        given: a plain tensor; own: the network's, of the same shape.
    """
    if own.is_floating_point() and given.dtype not in FLOATS:
        return f"{type_name(given)} where the network has {type_name(own)}"
    if given.is_meta or own.is_meta:  # shapes and types alone, as for a plan: there are no values
        return ""
    converted = given.to(own.dtype)
    if not own.is_floating_point():
        same = torch.equal(converted.to(given.dtype), given)
        return "" if same else f"{type_name(given)} with values that {type_name(own)} cannot hold"
    if finite(converted):
        return ""
    bad = ~torch.isfinite(converted)
    if torch.equal(converted[bad], own[bad]):
        return ""
    return f"not finite: {int(bad.sum())} of {bad.numel()} values are NaN or infinite as {type_name(own)}"


def finite(values: Tensor) -> bool:
    """Whether no value of a floating tensor is NaN or infinite; in one pass, without a mask."""
    return values.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(values))).all())


def type_name(tensor: Tensor) -> str:
    """Return the number type as NumPy names it, for example ``float32``."""
    return str(tensor.dtype).removeprefix("torch.")
