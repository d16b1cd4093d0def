"""Which device this is, and its two ceilings: a copy in its memory and a matrix product, both on random data."""

import os
import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.gpu.line import Line
from benchmarks.gpu.sizes import Sizes


def lines(sizes: Sizes) -> Iterator[Line]:
    """Yield the device, and what it reaches."""
    device = torch.device(sizes.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    versions = {"torch": torch.__version__, "cuda": str(torch.version.cuda), "cores": os.cpu_count()}
    yield Line("device", {"name": name, **versions})
    side = 256 if sizes.dry else 8192
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(side, side, device=device, generator=generator).to(torch.bfloat16) for _ in range(2))
    product = median_seconds(lambda: left @ right, device)
    yield Line(f"matrix product {side}, bf16", {"TFLOP/s": 2 * side**3 / product / 1e12})
    source = torch.randn(1 << (16 if sizes.dry else 30), device=device, generator=generator)
    target = torch.empty_like(source)
    copied = median_seconds(lambda: target.copy_(source), device)
    yield Line("copy within the device, read and written", {"GB/s": 2 * source.nbytes / copied / 1e9})


def synchronize(device: torch.device) -> None:
    """Wait for everything the device was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(work: Callable[[], object], device: torch.device, *, rounds: int = 7) -> float:
    """Return the median seconds of some runs of ``work``, after two that warm up."""
    found = []
    for number in range(rounds + 2):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        if number >= 2:
            found.append(time.perf_counter() - started)
    return sorted(found)[len(found) // 2]
