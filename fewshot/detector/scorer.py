"""A detector at work on images: its networks loaded once, images decoded in processes of their own."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fewshot.core.arrays import FloatArray, IntArray, spans
from fewshot.core.control_characters import escape_control
from fewshot.core.errors import OptionError
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged, Judgement
from fewshot.detector.known_images import FeatureKey
from fewshot.detector.stability import layers_under, under_views
from fewshot.embeddings.embedder import Embedder, ImagesDone
from fewshot.embeddings.inputs.views import parse
from fewshot.embeddings.layouts.collection import loose_files
from fewshot.embeddings.pipeline.recorded import recorded_plan
from fewshot.embeddings.pipeline.settings import DECODE_SECONDS
from fewshot.embeddings.pipeline.unit_result import UnitResult
from fewshot.embeddings.pipeline.units import Unit, unit_images
from fewshot.embeddings.weights.locate import require_known

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
_CHUNK = 8192  # paths listed at a time, so that an endless list takes bounded memory


class Scorer:
    """The networks of a detector, loaded; a context manager. Not for several threads at once.

    Args:
        detector: what judges.
        weights: ``NAME=PATH`` requests, as for ``fewshot embed``.
        device: ``auto`` is the first GPU where there is one.
        workers: decoding processes; 0 decodes in this one what is certain to end soon.
        views: re-encodings under which images are judged as well; a verdict that one of them changes becomes unsure.
        decode_seconds: what one image may take to be decoded.

    Raises:
        StoreError: the weights or the input rule on this machine are not those that the detector was fitted with.
        WeightsError: the weights are not on this machine.
        DeviceError: no such device, or one that cannot compute in the detector's precision.
        OptionError: re-encodings are wanted of a detector whose heads look at several views.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        weights: Sequence[str] = (),
        device: str = "auto",
        workers: int = 1,
        views: Sequence[str] = (),
        decode_seconds: float = DECODE_SECONDS,
    ) -> None:
        self.detector = detector
        self.views = tuple(dict.fromkeys(parse(view).name for view in views))
        plan, unit = recorded_plan(
            layers_under(detector, self.views),
            loose_files([]),
            where=str(detector.path or f"the detector {detector.name!r}"),
            weights=weights,
            device=device,
            workers=workers,
            decode_seconds=decode_seconds,
        )
        self._tasks = unit.tasks
        own = {(info.backbone, info.view) for info in detector.layers}
        self._own_tasks = tuple(task for task in unit.tasks if (task.backbone, task.view.name) in own)
        self._embedder = Embedder(plan)
        require_known(weights, [backbone.card for backbone in self._embedder.backbones.values()])

    def __enter__(self) -> Self:
        self._embedder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._embedder.__exit__(kind, error, trace)

    @property
    def device(self) -> str:
        """Where the networks run."""
        return str(self._embedder.device.name)

    def files(self, paths: Sequence[Path], *, re_encoded: bool = True) -> list[Judged]:
        """Return what is said of some files, in their order; what is no image is listed with the reason.

        Args:
            re_encoded: whether the re-encodings count for these files, where the scorer has any.
        """
        return list(self.stream(paths, re_encoded=re_encoded))

    def stream(
        self,
        paths: Iterable[Path],
        *,
        advance: Callable[[int], None] = lambda images: None,
        re_encoded: bool = True,
        together: int | None = None,
    ) -> Iterator[Judged]:
        """Yield what is said of each file in order, from lists of any length in bounded memory.

        Args:
            advance: told how many more images went through the networks, or failed.
            re_encoded: as for ``files``.
            together: how many go through the networks and are yielded at once, while the next ones are decoded; as
                many as in an extraction when None.
        """
        rest = iter(paths)
        lists = iter(lambda: list(islice(rest, _CHUNK)), [])
        for some in self.stream_lists(lists, advance=advance, re_encoded=re_encoded, together=together):
            yield from some

    def stream_lists(
        self,
        lists: Iterable[Sequence[Path]],
        *,
        advance: Callable[[int], None] = lambda images: None,
        re_encoded: bool = True,
        together: int | None = None,
    ) -> Iterator[list[Judged]]:
        """Yield what is said of the files of each list in order, some at a time, all before the next list is taken.

        Args:
            advance, re_encoded, together: as for ``stream``.
        """
        tasks = self._tasks if re_encoded else self._own_tasks
        for chunk in lists:
            self._embedder.go_on_with(loose_files(chunk))
            parts = spans(len(chunk), together or unit_images(len(chunk)))
            units = [Unit(tuple(range(start, stop)), tasks) for start, stop in parts]
            for event in self._embedder.results(units):
                if isinstance(event, ImagesDone):
                    advance(event.images)
                else:
                    yield list(self._judged(event, [str(chunk[position]) for position in event.unit.positions]))

    def images(self, images: Sequence[Any]) -> list[Judged]:
        """Return what is said of paths and decoded PIL images; the latter are called ``image 1``, ``image 2`` ..."""
        with tempfile.TemporaryDirectory(prefix="fewshot-") as folder:
            names: list[str] = []
            paths: dict[int, Path] = {}
            failures: dict[int, str] = {}
            for number, image in enumerate(images):
                if isinstance(image, str | Path):
                    names.append(str(image))
                    paths[number] = Path(image).expanduser()
                elif hasattr(image, "save"):
                    names.append(f"image {number + 1}")
                    paths[number] = Path(folder) / f"{number}.png"
                    failures[number] = _saved(image, paths[number])
                else:
                    raise OptionError(f"image {number + 1} is a {type(image).__name__}; give a path or a PIL image")
            usable = [number for number in paths if not failures.get(number)]
            found = dict(zip(usable, self.files([paths[number] for number in usable]), strict=True))
            return [
                replace(found[number], image=name) if number in found else Judged(name, None, failure=failures[number])
                for number, name in enumerate(names)
            ]

    def _judged(self, result: UnitResult, names: Sequence[str]) -> Iterator[Judged]:
        """Yield what is said of the images of one unit."""
        failures = {failure.key: failure.reason for failure in reversed(result.failures)}
        there = np.logical_and.reduce([result.present(task) for task in result.unit.tasks])
        present = np.flatnonzero(there).astype(np.int64)
        ids = [str(result.rows[number]["id"]) for number in present.tolist()]
        judgements = dict(zip(present.tolist(), self._judge(result, present, ids), strict=True))
        for number, name in enumerate(names):
            row = result.rows.get(number, {})
            yield Judged(
                name,
                judgements.get(number),
                failure="" if number in judgements else failures[result.keys[number]],
                file_sha256=str(row.get("file_sha256", "")),
                pixel_id=str(row.get("id", "")),
            )

    def _judge(self, result: UnitResult, rows: IntArray, ids: Sequence[str]) -> list[Judgement]:
        if not len(rows):
            return []
        features = self._features(result, rows)
        found = self.detector.judge(features, ids)
        re_encoded = self.views and len(result.unit.tasks) > len(self._own_tasks)
        return under_views(self.detector, found, features, self.views) if re_encoded else found

    def _features(self, result: UnitResult, rows: IntArray) -> dict[FeatureKey, FloatArray]:
        found = {}
        for task in result.unit.tasks:
            for layer in task.feature_layers:
                found[task.backbone, layer, task.view.name] = result.features(task, layer)[rows]
        return found


def _saved(image: Any, path: Path) -> str:
    """Write a decoded PIL image without loss; return why it cannot be, empty where it was."""
    try:
        kept = image if image.mode in _PNG_MODES else image.convert("RGB")
        kept.save(path, compress_level=1)
    except (OSError, SyntaxError, ValueError) as error:  # opened, and damaged further on
        return f"damaged: {escape_control(error)}"
    return ""
