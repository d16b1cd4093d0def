"""How many images fit the memory at once: what a network needs for one, and what is free."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fewshot.core.memory import free_bytes
from fewshot.embeddings.backbones.base import Backbone

CPU_BATCH, CUDA_BATCH = 32, 1024  # the most that is tried
_SHARE = 0.5  # of what is free: libraries need room of their own, and images of native size may be larger
_LIVING = 4  # tensors of the largest size: an input, an output, a branch, a workspace
_TRIAL_SIDE = 512  # pixels, for networks that take any size
_MOST_GFLOPS = 300.0  # a costlier network is not tried


def fitting_batch(device: torch.device, backbones: Iterable[Backbone]) -> int:
    """Return a power of two: the images whose networks' tensors fit half of the free memory, one backbone at a time.

    On the CPU it is at most 32 and rarely less, so that machines of usual size agree on it.
    """
    need = max((bytes_for_one(backbone) for backbone in backbones if cheap(backbone)), default=0)
    free = free_on(device)
    batch = CUDA_BATCH if device.type == "cuda" else CPU_BATCH
    while batch > 1 and batch * need > free * _SHARE:
        batch //= 2
    return batch


def cheap(backbone: Backbone) -> bool:
    """Whether one image more costs nothing that counts."""
    return (backbone.card.gflops or 0.0) <= _MOST_GFLOPS


def trial_batch(backbone: Backbone) -> Tensor:
    """Return a batch of one image of noise, preprocessed: (1, C, H, W) uint8 for most."""
    pixels = np.random.default_rng(0).integers(0, 256, (_TRIAL_SIDE, _TRIAL_SIDE, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    batch: Tensor = torch.from_numpy(backbone.preprocess(image))[None]
    return batch


def bytes_for_one(backbone: Backbone) -> int:
    """Return about the most bytes of tensors that live at once while the network computes one image.

    Four times the largest tensor that goes into the network or comes out of any of its modules. (Counting live tensors
    exactly needs torch's dispatch modes, whose first use imports its compiler: four seconds at every start.)
    """
    batch = trial_batch(backbone)
    largest = [batch.numel() * 4]  # as float32

    def note(_: nn.Module, __: Any, result: Any) -> None:
        largest[0] = max(largest[0], _bytes(result))

    hooks = [part.register_forward_hook(note) for part in backbone.network.modules()]
    try:
        backbone.embed(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 1 << 62
    finally:
        for hook in hooks:
            hook.remove()
    return _LIVING * largest[0]


def _bytes(result: Any) -> int:
    """Return the bytes of the tensors in what a module gave."""
    if isinstance(result, Tensor):
        return result.numel() * result.element_size()
    if isinstance(result, dict):
        return sum(map(_bytes, result.values()))
    return sum(map(_bytes, result)) if isinstance(result, (tuple, list)) else 0


def free_on(device: torch.device) -> int:
    """Return the bytes that are free on the device: of the GPU, or of this machine within its container's limits."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_bytes()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a network did not fit: CUDA has a class for it, the CPU's allocator a sentence."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
