"""Four toy generators that remake natural tiles, each leaving the trace of one step of a real generator.

A generator sees the brightness of all tiles and returns it remade; the colour differences are carried over. None of
them is a generative model: they stand in for the decoder, the bottleneck, the spectrum and the token book of one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import ByteArray, Float64Array

BRIGHTNESS = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, section 2.5.1
_FITTED_PATCHES = 20_000

Remake = Callable[[Float64Array, np.random.Generator], Float64Array]


def remade(tiles: ByteArray, *, generator: str, seed: int) -> ByteArray:
    """Return every tile as the named generator remakes it.

    Args:
        tiles: (N, S, S, 3) uint8, natural; S a multiple of 8.
        generator: a name of ``GENERATORS``.
        seed: what the generator draws follows from it.

    Returns:
        (N, S, S, 3) uint8. A grey tile stays grey.
    """
    generator_number = list(GENERATORS).index(generator)
    scaled = tiles.astype(np.float64) / 255
    brightness = scaled @ BRIGHTNESS
    made = GENERATORS[generator](brightness, np.random.default_rng([seed, generator_number]))
    remade_tiles = scaled + (made - brightness)[..., None]
    return np.asarray(np.rint(np.clip(remade_tiles, 0, 1) * 255), dtype=np.uint8)


def transposed_convolution(planes: Float64Array, random: np.random.Generator) -> Float64Array:
    """Halve every plane, then double it by a strided transposed convolution with uneven overlap.

    A 3 x 3 kernel at stride 2 covers neighbouring pixels by different numbers of taps, which leaves a checkerboard
    unless the weights happen to balance (Odena, Dumoulin, Olah: Deconvolution and Checkerboard Artifacts, Distill
    2016, doi 10.23915/distill.00003). Here they balance up to a drawn error of a few per cent.

    Args:
        planes: (N, S, S) float64 in [0, 1].
    """
    kernel = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]) * (1 + 0.05 * random.standard_normal((3, 3)))
    small = planes.reshape(len(planes), planes.shape[1] // 2, 2, planes.shape[2] // 2, 2).mean(axis=(2, 4))
    spread = np.zeros((len(planes), planes.shape[1] + 2, planes.shape[2] + 2))
    spread[:, 1::2, 1::2] = np.pad(small, ((0, 0), (0, 1), (0, 1)), mode="edge")
    large = sum(
        kernel[row, column] * np.roll(spread, (row - 1, column - 1), axis=(1, 2))
        for row in range(3)
        for column in range(3)
    )
    return np.asarray(large)[:, 1:-1, 1:-1]


def autoencoder(planes: Float64Array, random: np.random.Generator) -> Float64Array:
    """Squeeze overlapping 8 x 8 patches through a linear bottleneck of 24 numbers, fitted on the tiles.

    The best linear auto-encoder is the projection on the leading principal components (Baldi, Hornik: Neural Networks
    and Principal Component Analysis, Neural Networks 2, 1989).

    Args:
        planes: (N, S, S) float64 in [0, 1].
    """
    size, stride, bottleneck = 8, 4, 24
    fitted = _some(_patches(planes, size=size), random)
    mean = fitted.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((fitted - mean).T))
    basis = vectors[:, -bottleneck:]
    total, weight = np.zeros_like(planes), np.zeros_like(planes)
    side = planes.shape[1]
    for top in range(0, size, stride):
        for left in range(0, size, stride):
            inside = np.s_[:, top : side - (side - top) % size, left : side - (side - left) % size]
            part = planes[inside]
            code = (_patches(part, size=size) - mean) @ basis
            total[inside] += _joined(code @ basis.T + mean, part.shape, size=size)
            weight[inside] += 1
    return total / weight


def spectral(planes: Float64Array, random: np.random.Generator) -> Float64Array:
    """Keep every plane's phases, and replace its high-frequency magnitudes by one smooth power law.

    Natural spectra fall off as a power of the frequency, and generators miss it at the high end (Durall et al. 2020,
    arXiv 2003.01826; Dzanic et al. 2020, arXiv 1911.06465). Here the end is exactly the power law, without scatter.

    Args:
        planes: (N, S, S) float64 in [0, 1].
    """
    del random
    spectrum = np.fft.rfft2(planes)
    side = planes.shape[1]
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    middle, high = (frequency > 0.05) & (frequency <= 0.25), frequency > 0.25
    magnitude = np.abs(spectrum)
    log_frequency = np.log(frequency[middle])
    design = np.stack([np.ones_like(log_frequency), log_frequency], axis=1)
    fit = np.linalg.lstsq(design, np.log(magnitude[:, middle] + 1e-9).T, rcond=None)[0]
    law = np.exp(fit[0][:, None] + fit[1][:, None] * np.log(frequency[high])[None])
    spectrum[:, high] *= law / (magnitude[:, high] + 1e-12)
    return np.asarray(np.fft.irfft2(spectrum, s=planes.shape[1:]))


def codebook(planes: Float64Array, random: np.random.Generator) -> Float64Array:
    """Replace the structure of every 4 x 4 patch by the nearest of 256 learned ones, its brightness kept.

    A vector-quantised model has as many words (van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation
    Learning, 2017, arXiv 1711.00937); the words here are k-means centres of patches of unit contrast.

    Args:
        planes: (N, S, S) float64 in [0, 1].
    """
    from sklearn.cluster import MiniBatchKMeans

    size = 4
    patches = _patches(planes, size=size)
    mean = patches.mean(axis=1, keepdims=True)
    contrast = np.linalg.norm(patches - mean, axis=1, keepdims=True)
    shapes = (patches - mean) / np.maximum(contrast, 1e-6)
    words = MiniBatchKMeans(
        256, random_state=int(random.integers(1 << 31)), n_init="auto", max_iter=20, batch_size=4096
    )
    words.fit(_some(shapes, random))
    nearest: Any = words.predict(shapes)
    chosen = words.cluster_centers_[nearest]
    return _joined(mean + contrast * chosen, planes.shape, size=size)


GENERATORS: dict[str, Remake] = {
    "autoencoder": autoencoder,
    "codebook": codebook,
    "spectral": spectral,
    "transposed-convolution": transposed_convolution,
}


def _patches(planes: Float64Array, *, size: int) -> Float64Array:
    """Return the neighbouring patches of (N, H, W) planes as rows: (n, size * size)."""
    count, height, width = planes.shape
    grid = planes.reshape(count, height // size, size, width // size, size)
    return np.asarray(grid.transpose(0, 1, 3, 2, 4).reshape(-1, size * size))


def _joined(patches: Float64Array, shape: tuple[int, ...], *, size: int) -> Float64Array:
    """Undo ``_patches``: (n, size * size) back to planes of ``shape``."""
    count, height, width = shape
    grid = patches.reshape(count, height // size, width // size, size, size)
    return np.asarray(grid.transpose(0, 1, 3, 2, 4).reshape(shape))


def _some(rows: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Return at most ``_FITTED_PATCHES`` rows, drawn without repeats."""
    return rows[random.permutation(len(rows))[:_FITTED_PATCHES]]
