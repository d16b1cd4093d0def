"""The unconditional ADM diffusion model at 256 pixels, and its DDIM inversion and sampling.

Sources: Dhariwal and Nichol, Diffusion Models Beat GANs, 2021, and openai/guided-diffusion, whose key names are kept
(``256x256_diffusion_uncond.pt``, ``lsun_bedroom.pt``); Song et al., DDIM, 2021, equation 12; ZhendongWang6/DIRE,
guided-diffusion/compute_dire.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Noise = Callable[[Tensor, int], Tensor]

WIDTH = 256
MULTIPLES = (1, 1, 2, 2, 4, 4)
BLOCKS = 2
ATTENTION_AT = (8, 16, 32)  # down-sampling factors: resolutions 32, 16 and 8
HEAD_CHANNELS = 64
TRAINING_STEPS = 1000
STEPS = 20  # DIRE: timestep_respacing "ddim20"


@dataclass(frozen=True)
class Schedule:
    """The linear schedule of 1000 steps, of which every 50th is kept.

    Args:
        times: the kept steps, ascending; alphas: their cumulative products.
    """

    times: tuple[int, ...]
    alphas: tuple[float, ...]


def linear_schedule(steps: int = STEPS) -> Schedule:
    """Return ``ddimN`` of guided-diffusion: every (1000 / N)-th step of betas from 0.0001 to 0.02."""
    alphas = np.cumprod(1.0 - np.linspace(0.0001, 0.02, TRAINING_STEPS, dtype=np.float64))
    times = range(0, TRAINING_STEPS, TRAINING_STEPS // steps)
    return Schedule(tuple(times), tuple(float(alphas[time]) for time in times))


def reconstruct(noise: Noise, images: Tensor, schedule: Schedule) -> Tensor:
    """Return images after DDIM inversion to noise and DDIM sampling back, both without randomness.

    Args:
        noise: the model's noise in images (N, 3, H, W) at a training step.
        images: (N, 3, H, W) in [-1, 1].
        schedule: the steps.
    """
    steps = len(schedule.times)
    following = (*schedule.alphas[1:], 0.0)
    preceding = (1.0, *schedule.alphas[:-1])
    hidden = images
    for index in range(steps):
        hidden = _moved(noise, hidden, schedule, index, following[index])
    for index in reversed(range(steps)):
        hidden = _moved(noise, hidden, schedule, index, preceding[index])
    return hidden


def _moved(noise: Noise, hidden: Tensor, schedule: Schedule, index: int, alpha_there: float) -> Tensor:
    """Move one step along the DDIM path, with the image that is predicted clipped to [-1, 1]."""
    alpha = schedule.alphas[index]
    predicted = noise(hidden, schedule.times[index])
    image = ((hidden - math.sqrt(1 - alpha) * predicted) / math.sqrt(alpha)).clamp(-1, 1)
    along = (hidden - math.sqrt(alpha) * image) / math.sqrt(1 - alpha)
    return math.sqrt(alpha_there) * image + math.sqrt(1 - alpha_there) * along


class AdmUNet(nn.Module):
    """552.8 million parameters; 2240 GFLOPs a call."""

    def __init__(self) -> None:
        super().__init__()
        embedding = 4 * WIDTH
        self.time_embed = nn.Sequential(nn.Linear(WIDTH, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.input_blocks = nn.ModuleList([_Sequence(nn.Conv2d(3, WIDTH, 3, padding=1))])
        widths, width, factor = [WIDTH], WIDTH, 1
        for level, multiple in enumerate(MULTIPLES):
            for _ in range(BLOCKS):
                self.input_blocks.append(_level(width, multiple * WIDTH, factor))
                width = multiple * WIDTH
                widths.append(width)
            if level < len(MULTIPLES) - 1:
                self.input_blocks.append(_Sequence(_Residual(width, width, change=_halved)))
                widths.append(width)
                factor *= 2
        self.middle_block = _Sequence(_Residual(width, width), _Attention(width), _Residual(width, width))
        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(MULTIPLES))):
            for block in range(BLOCKS + 1):
                layers = _level(width + widths.pop(), multiple * WIDTH, factor)
                width = multiple * WIDTH
                if level and block == BLOCKS:
                    layers.append(_Residual(width, width, change=_doubled))
                    factor //= 2
                self.output_blocks.append(layers)
        self.out = nn.Sequential(_norm(width), nn.SiLU(), nn.Conv2d(width, 6, 3, padding=1))

    def forward(self, images: Tensor, time: int) -> Tensor:
        """Return the noise in images (N, 3, 256, 256) at a training step; the learned variance is dropped."""
        embedding = self.time_embed(_sinusoids(time, images))
        hidden, kept = images, []
        for block in self.input_blocks:
            hidden = block(hidden, embedding)
            kept.append(hidden)
        hidden = self.middle_block(hidden, embedding)
        for block in self.output_blocks:
            hidden = block(torch.cat([hidden, kept.pop()], dim=1), embedding)
        return cast(Tensor, self.out(hidden))[:, :3]


def _level(inputs: int, outputs: int, factor: int) -> "_Sequence":
    residual = _Residual(inputs, outputs)
    return _Sequence(residual, _Attention(outputs)) if factor in ATTENTION_AT else _Sequence(residual)


class _Sequence(nn.Sequential):
    """Layers of which residual blocks also take the time's embedding."""

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]  # two inputs
        for layer in self:
            hidden = layer(hidden, embedding) if isinstance(layer, _Residual) else layer(hidden)
        return hidden


def _sinusoids(time: int, like: Tensor) -> Tensor:
    half = WIDTH // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angles = (time * frequencies).to(like)[None].expand(len(like), -1)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels)


def _same(hidden: Tensor) -> Tensor:
    return hidden


def _halved(hidden: Tensor) -> Tensor:
    return functional.avg_pool2d(hidden, 2)


def _doubled(hidden: Tensor) -> Tensor:
    return functional.interpolate(hidden, scale_factor=2, mode="nearest")


class _Residual(nn.Module):
    """A residual block whose second norm is scaled and shifted by the time's embedding; it may halve or double."""

    def __init__(self, inputs: int, outputs: int, *, change: Callable[[Tensor], Tensor] = _same) -> None:
        super().__init__()
        self.change = change
        self.in_layers = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(4 * WIDTH, 2 * outputs))
        convolution = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.out_layers = nn.Sequential(_norm(outputs), nn.SiLU(), nn.Dropout(0.0), convolution)
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        norm, activation, convolution = self.in_layers
        found = convolution(self.change(activation(norm(hidden))))
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        found = self.out_layers[1:](self.out_layers[0](found) * (1 + scale) + shift)
        return cast(Tensor, self.skip_connection(self.change(hidden)) + found)


class _Attention(nn.Module):
    """Self-attention over all pixels, 64 channels a head; q, k and v lie together in each head's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_CHANNELS
        self.norm = _norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        count, channels, height, width = hidden.shape
        flat = hidden.reshape(count, channels, height * width)
        joined = self.qkv(self.norm(flat)).reshape(count * self.heads, 3 * HEAD_CHANNELS, height * width)
        query, key, value = joined.chunk(3, dim=1)
        scale = HEAD_CHANNELS**-0.25
        attention = torch.softmax(torch.einsum("bct,bcs->bts", query * scale, key * scale), dim=-1)
        mixed = torch.einsum("bts,bcs->bct", attention, value).reshape(count, channels, height * width)
        return cast(Tensor, flat + self.proj_out(mixed)).reshape(hidden.shape)
