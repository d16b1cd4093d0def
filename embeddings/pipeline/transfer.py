"""Batches to the device and features back: pinned memory, asynchronous copies, and a thread that waits for them."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot.core.arrays import Float32Array

_UNDER_WAY = 2  # batches whose features are on their way back


def upload(arrays: Sequence[NDArray[Any]], device: torch.device) -> Tensor:
    """Return arrays of one shape as one batch on the device; on CUDA the copy runs while this process continues."""
    if device.type == "cpu":
        return torch.from_numpy(np.stack(arrays))
    dtype = torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype
    pinned = torch.empty((len(arrays), *arrays[0].shape), dtype=dtype, pin_memory=device.type == "cuda")
    np.stack(arrays, out=pinned.numpy())
    return pinned.to(device, non_blocking=True)


class Downloads:
    """One thread that fetches features from the device and hands them on, in the order given; a context manager.

    The networks' process continues meanwhile. What the thread meets is raised by the next call.

    Args:
        device: where the networks run.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0  # during which some batch was on the device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fewshot-copy")
        self._under_way: deque[Future[None]] = deque()
        self._stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]  # torch
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def fetch(
        self, layers: Mapping[str, Tensor], then: Callable[[dict[str, Float32Array]], None], *, started: float
    ) -> None:
        """Copy features to this machine's memory as float32, then call ``then`` with them, in the thread.

        Args:
            layers: {layer: (n, D)} on the device, computed or still to be; started: when their batch began.
        """
        while len(self._under_way) >= _UNDER_WAY:
            self._under_way.popleft().result()
        ready = None
        if self._stream is not None:
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch
            ready.record(torch.cuda.current_stream(self.device))
        self._under_way.append(self._pool.submit(self._copy, dict(layers), ready, then, started))

    def drain(self) -> None:
        """Wait until everything was handed on."""
        while self._under_way:
            self._under_way.popleft().result()

    def _copy(self, layers: dict[str, Tensor], ready: Any, then: Any, started: float) -> None:
        found = self._from_cuda(layers, ready) if self._stream is not None else _from_cpu(layers)
        now = time.perf_counter()
        self.seconds += now - max(started, self._last)
        self._last = now
        then(found)

    def _from_cuda(self, layers: dict[str, Tensor], ready: Any) -> dict[str, Float32Array]:
        """Copy on a stream of its own, which waits for the features and not for what was begun after them."""
        assert self._stream is not None
        pinned = {}
        with torch.cuda.stream(self._stream), torch.inference_mode():
            self._stream.wait_event(ready)
            for layer, part in layers.items():
                part.record_stream(self._stream)
                pinned[layer] = torch.empty(part.shape, dtype=torch.float32, pin_memory=True)
                pinned[layer].copy_(part.to(torch.float32), non_blocking=True)
            self._stream.synchronize()
        return {layer: part.numpy() for layer, part in pinned.items()}


def _from_cpu(layers: dict[str, Tensor]) -> dict[str, Float32Array]:
    return {layer: part.to(torch.float32).numpy() for layer, part in layers.items()}
