"""What happens to one image before a network: read, decode, perturb, resize; in a worker process or in this one.

No torch is imported here, unless a decoder that needs it is named. Results are bytes (uint8) for ordinary
geometries; every distinct pair of pixel view and geometry is computed once, and geometries that begin alike share their
beginning.
"""

import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fewshot.core.errors import FewshotError
from fewshot.core.regular_files import require_regular
from fewshot.core.signals import raise_if_interrupted
from fewshot.embeddings.inputs.bounds import MAX_FILE_BYTES, is_light
from fewshot.embeddings.inputs.decoders import decoder_of, resize_of
from fewshot.embeddings.inputs.images import ImageMetadata, UnreadableImage
from fewshot.embeddings.inputs.transforms import Resize, Step
from fewshot.embeddings.inputs.unreadable import printable
from fewshot.embeddings.inputs.views import PixelStep, perturb
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.look_alikes import look_alike
from fewshot.embeddings.pipeline.settings import PixelSettings


@dataclass(frozen=True)
class Input:
    """One array that some backbone needs: the pixel view, then the geometry."""

    view: tuple[PixelStep, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Preparation:
    """Everything a worker needs to know beside the sample.

    Args:
        roots, layouts: where samples lie and how they are read, by the job's ``root``.
        inputs: what to compute of each image.
        pixels: the decoder, and what is done to every image first.
    """

    roots: tuple[Path, ...]
    layouts: tuple[Layout, ...]
    inputs: tuple[Input, ...]
    pixels: PixelSettings = field(default_factory=PixelSettings)


@dataclass(frozen=True)
class Job:
    """One image to prepare.

    Args:
        number: its number in the run, counted from 0 without gaps.
        root: which of the preparation's roots.
        known_sha256, known_id: the hash of its bytes and of its pixels in the store that is added to, else empty.
    """

    number: int
    root: int
    sample: Sample
    known_sha256: str = ""
    known_id: str = ""


@dataclass
class Prepared:
    """What became of one image.

    Args:
        metadata: None when the image cannot be used; then ``failure`` says why.
        inputs: one array per input that is wanted, or the reason (text) why that geometry failed for this image.
        seconds: wall time of reading, decoding and preprocessing.
        refused: why the whole run must stop, for example a decoder that gives other pixels than the store has.
    """

    number: int
    metadata: ImageMetadata | None = None
    mtime_ns: int = 0
    failure: str = ""
    inputs: list[NDArray[Any] | str] = field(default_factory=list)
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    refused: str = ""


def prepare(preparation: Preparation, job: Job) -> Prepared:
    """Return the inputs of one image; whatever is wrong with the image stands in the result, not raised.

    Raises:
        FewshotError: the preparation itself cannot be done, for example by a decoder that this machine lacks.
    """
    started = time.perf_counter()
    try:
        encoded, mtime_ns = _read(preparation, job)
        return _prepared(preparation, job, encoded, mtime_ns=mtime_ns, started=started)
    except Exception as error:
        return Prepared(job.number, failure=_failure(error))


def prepare_light(preparation: Preparation, job: Job) -> Prepared | None:
    """Return what ``prepare`` does where decoding is certain to end soon, None where a process of its own should do it.

    Raises:
        FewshotError: as ``prepare``.
    """
    started = time.perf_counter()
    try:
        encoded, mtime_ns = _read(preparation, job)
        if not is_light(encoded):
            return None
        return _prepared(preparation, job, encoded, mtime_ns=mtime_ns, started=started)
    except Exception as error:
        return Prepared(job.number, failure=_failure(error))


def _failure(error: Exception) -> str:
    """Return why one image cannot be used, after whatever was raised on its way.

    Raises:
        FewshotError: it is no error of this image.
        KeyboardInterrupt: the run was asked to end, and a library made an error of that.
    """
    raise_if_interrupted()
    if isinstance(error, FewshotError):
        raise error
    if isinstance(error, UnreadableImage):
        return str(error)
    if isinstance(error, MemoryError):
        return "memory: preparing it needs more memory than one image may take"
    return f"failed: {type(error).__name__}: {printable(str(error))}"


def _prepared(preparation: Preparation, job: Job, encoded: bytes, *, mtime_ns: int, started: float) -> Prepared:
    result = Prepared(job.number, mtime_ns=mtime_ns)
    read = time.perf_counter()
    image, metadata = decoder_of(preparation.pixels.decoder)(encoded)
    decoded = time.perf_counter()
    if job.known_sha256 and metadata.file_sha256 != job.known_sha256:
        result.failure = "changed: the file's bytes are not those the store was made from"
        return result
    if job.known_id and metadata.id != job.known_id:
        result.refused = f"{job.sample.key}: the same bytes decode to other pixels than when the store was made"
        return result
    same = _perturbed(image, preparation.pixels.reencode, metadata.id)
    if isinstance(same, str):
        result.failure = same
        return result
    result.metadata = metadata
    resize = resize_of(preparation.pixels.decoder)
    result.inputs = _inputs(same, preparation.inputs, pixel_id=metadata.id, resize=resize)
    result.seconds = (read - started, decoded - read, time.perf_counter() - decoded)
    return result


def _read(preparation: Preparation, job: Job) -> tuple[bytes, int]:
    layout, root = preparation.layouts[job.root], preparation.roots[job.root]
    try:
        place = layout.location(root, job.sample)
        if not job.sample.member:
            require_regular(place, limit=MAX_FILE_BYTES)
        return layout.read(root, job.sample), place.stat().st_mtime_ns
    except FileNotFoundError as error:
        found = look_alike(layout.location(root, job.sample))
        raise UnreadableImage("missing", f"there is no such file{found}") from error
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise UnreadableImage("unreadable", f"{error.strerror or error} ({reason})") from error
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage("memory", "the file does not fit the memory that one image may take") from error
    except FewshotError as error:
        raise UnreadableImage("unreadable", str(error)) from error
    except Exception as error:  # an archive's reader: tarfile, zlib, lmdb and pyarrow have errors of their own
        raise UnreadableImage("unreadable", f"{type(error).__name__}: {error}") from error


def _inputs(image: Image.Image, inputs: Sequence[Input], *, pixel_id: str, resize: Resize) -> list[NDArray[Any] | str]:
    views: dict[tuple[PixelStep, ...], Image.Image | str] = {}
    between: dict[tuple[tuple[PixelStep, ...], tuple[Step, ...]], Image.Image] = {}
    results: list[NDArray[Any] | str] = []
    for wanted in inputs:
        if wanted.view not in views:
            views[wanted.view] = _perturbed(image, wanted.view, pixel_id)
        seen = views[wanted.view]
        if isinstance(seen, str):
            results.append(seen)
            continue
        try:
            results.append(_geometry(seen, wanted, between, resize))
        except Exception as error:  # any failure of a plug-in's step is this image's failure, with its text
            raise_if_interrupted()
            results.append(f"geometry: {type(error).__name__}: {printable(str(error))}")
    return results


def _perturbed(image: Image.Image, steps: tuple[PixelStep, ...], pixel_id: str) -> Image.Image | str:
    try:
        return perturb(image, steps, pixel_id=pixel_id)
    except Exception as error:  # an encoder that refuses a size, or memory that does not suffice
        raise_if_interrupted()
        return f"view: {type(error).__name__}: {printable(str(error))}"


def _geometry(
    image: Image.Image,
    wanted: Input,
    between: dict[tuple[tuple[PixelStep, ...], tuple[Step, ...]], Image.Image],
    resize: Resize,
) -> NDArray[Any]:
    result: Image.Image | NDArray[Any] = image
    for count in range(1, len(wanted.steps) + 1):
        done = (wanted.view, wanted.steps[:count])
        if done in between:
            result = between[done]
            continue
        if not isinstance(result, Image.Image):
            raise TypeError(f"{wanted.steps[count - 2]} returns an array, so it must be the last step")
        result = wanted.steps[count - 1].by(result, resize)
        if isinstance(result, Image.Image):
            between[done] = result
    if isinstance(result, Image.Image):
        return np.ascontiguousarray(np.asarray(result).transpose(2, 0, 1))
    return np.ascontiguousarray(result)
