"""From images to one feature store: plan what is missing, have an engine run it, seal; run again to go on."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fewshot.core.errors import InputError, OptionError, OutputError, StoreError
from fewshot.core.outputs import STORE, Output, require_outputs
from fewshot.core.progress import Progress
from fewshot.embeddings.embedder import ImagesDone
from fewshot.embeddings.engines.base import ENGINES, Engine, UnitDone
from fewshot.embeddings.extraction import Extraction
from fewshot.embeddings.inputs.decoders import PILLOW, decoder_of, version_of
from fewshot.embeddings.inputs.views import PixelStep, parse
from fewshot.embeddings.layer_key import CLEAN
from fewshot.embeddings.layouts.collection import AUTO, collect, require_expected
from fewshot.embeddings.pipeline.choice import choose_backbones, task_of
from fewshot.embeddings.pipeline.history import History
from fewshot.embeddings.pipeline.ledger import PartsFolder
from fewshot.embeddings.pipeline.plan import Plan
from fewshot.embeddings.pipeline.sealing import Outcome, Sealing
from fewshot.embeddings.pipeline.settings import (
    DECODE_SECONDS,
    ComputeSettings,
    PixelSettings,
    batch_size_of,
    devices_of,
    precision_of,
    workers_of,
)
from fewshot.embeddings.pipeline.timing import Timing
from fewshot.embeddings.pipeline.units import Task, Unit, share_of, units
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.weights.locate import notices
from fewshot.embeddings.weights.requests import files as weight_files

FISER_REENCODING = "jpeg:75"  # default of FiSeR's LMDB builder, scripts/prepare_lmdb.py @ ad2637c


def embed(
    roots: Path | str | Sequence[Path | str],
    *,
    backbones: str | Sequence[str],
    out: Path | str,
    quiet: bool = False,
    **options: Any,
) -> FeatureStore:
    """Embed the images of some folders or tables with every named backbone in one pass, into one sealed store.

    Run again after a kill it resumes; run again with another backbone or view it adds to the same store.

    Args:
        roots: folders or tables; backbones: names as ``fewshot list backbones`` gives them.
        out: the store's file.
        quiet: show nothing on stderr.
        options: those of ``extract``.

    Raises:
        FewshotError: see ``extract``; also when other shards of the work are unfinished.

    >>> store = embed("photos/", backbones=["npr", "unifd"], out="photos.h5")  # doctest: +SKIP
    """
    outcome = extract(roots, backbones=backbones, out=out, quiet=quiet, **options).outcome
    if outcome.store is None:
        raise StoreError(f"{out} is not sealed yet: {outcome.notes[-1]}")
    return outcome.store


def extract(  # noqa: PLR0913  # every option of the command, each with its default
    roots: Path | str | Sequence[Path | str],
    *,
    backbones: str | Sequence[str],
    out: Path | str,
    layout: str = AUTO,
    layers: Mapping[str, Sequence[str]] | None = None,
    views: Sequence[str] = (CLEAN,),
    weights: Mapping[str, Path | str] | Sequence[str] = (),
    engine: str = AUTO,
    device: str = AUTO,
    precision: str = AUTO,
    decoder: str = PILLOW,
    batch_size: int | str = AUTO,
    compile: bool = False,
    workers: int | str = AUTO,
    decode_seconds: float = DECODE_SECONDS,
    shard: tuple[int, int] | None = None,
    limit: int | None = None,
    expect_count: int | None = None,
    expect_sources: Iterable[str] = (),
    one_class: bool = False,
    skip_unlabelled: bool = False,
    unlabelled: Literal["natural", "synthetic"] | None = None,
    strict: bool = False,
    store_dtype: Literal["float32", "float16"] = "float32",
    match_format: str | None = None,
    fiser_compat: bool = False,
    quiet: bool = False,
) -> Extraction:
    """Embed images and say what was done; ``embed`` is the short form.

    Args:
        roots: folders or tables of images; layout: how they lie on disk, or ``auto``.
        backbones: names, with a variant after a colon where there is one, or weight files of yours.
        out: the store's file; unfinished work lies beside it in ``OUT.parts``.
        layers: backbone -> the layers wanted; all of the card's when it is not named.
        views: perturbations of every image (``fewshot list views``).
        weights: {NAME: PATH} or a list of ``NAME=PATH``, ``NAME=random``.
        engine: ``local`` (this process), ``processes`` (one per device), or ``auto``: the second for several devices.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, or several separated by commas.
        precision, batch_size: how networks run; ``auto`` chooses.
        decoder: ``pillow``, the reference; ``torchvision``, faster on JPEG and WebP; ``nvjpeg``, JPEG on the GPU.
        compile: have ``torch.compile`` compile the networks.
        workers: decoding processes; 0 decodes in the networks' process. decode_seconds: what one image may take there.
        shard: (i, n), i from 1: do only this share of the work; the last share to end seals the store.
        limit: at most so many images, spread evenly; expect_count, expect_sources: what a published split must hold.
        one_class: accept images of one class; skip_unlabelled: leave out rows of neither class, counted.
        unlabelled: the class of images in folders that nothing labels.
        strict: an image that cannot be used is an error.
        store_dtype: type of stored features; float16 refuses overflow.
        match_format: a pixel view done to every image of both classes first, for example ``jpeg:90``;
            fiser_compat: the same with FiSeR's ``jpeg:75``.
        quiet: show nothing on stderr.

    Raises:
        InputError: no image, unknown labels, one class only, every image failed.
        WeightsError: a weight file is missing, damaged or of another network.
        StoreError: the store was produced differently, holds other images, or is being written.
        OutputError: the store cannot be written.
        DeviceError, OptionError, UnknownNameError: an option's value cannot be used.
    """
    started = time.perf_counter()
    path = _output_of(out, inputs=_files_read(roots, backbones, weights))
    devices = devices_of(device)
    runner = _engine(engine, devices)
    compute = ComputeSettings(
        devices=devices,
        precision=precision_of(precision, devices[0]),
        batch_size=batch_size_of(batch_size),
        compiled=compile,
        decode_seconds=decode_seconds,
    )
    parsed = tuple({view.name: view for view in map(parse, views)}.values())
    pixels = PixelSettings(decoder, _reencoding(match_format, fiser_compat))
    decoder_of(decoder)
    _require_shard(shard)
    collection = collect(
        _several(roots),
        layout=layout,
        limit=limit,
        one_class=one_class,
        skip_unlabelled=skip_unlabelled,
        unlabelled=None if unlabelled is None else unlabelled == "synthetic",
    )
    require_expected(collection, count=expect_count, sources=expect_sources)
    progress = Progress(None, label="embed", unit="images", quiet=quiet)
    for line in collection.describe():
        progress.say(line)
    chosen = choose_backbones(backbones, weights=weights, layers=layers or {})
    tasks = [
        task_of(each, view, pixels=pixels, precision=compute.precision, dtype=store_dtype)
        for each in chosen
        for view in parsed
    ]
    folder = PartsFolder(path, shard=shard)
    with folder.locked():
        history = History(folder, collection)
        for notice in (line for each in chosen for line in notices(each.backbone.card, each.planned.reference.weights)):
            progress.say(notice)
        work = _work(history, tasks, shard)
        images = sum(len(unit.positions) for unit in work)
        plan = Plan(
            backbones=tuple(each.planned for each in chosen),
            samples=collection,
            keys=tuple(history.keys),
            known=history.known(),
            pixels=pixels,
            compute=compute.with_workers(workers_of(workers, images=images, devices=len(devices))),
            dtype=store_dtype,
            folder=folder.folder,
        )
        run = _Run(plan, history, progress, strict=strict)
        run.timing.start = time.perf_counter() - started
        run.all(runner, work)
        outcome = run.seal(tasks, options=_options(plan, layout, runner))
    _require_some(outcome, path)
    counted: dict[str, Any] = {"left_out": collection.left_out(), "roots": collection.roots}
    return Extraction(outcome, len(_positions(work)), run.timing, plan.compute, run.batch_size, **counted)


class _Run:
    """The caller's side of an engine: ledger, progress and strictness."""

    def __init__(self, plan: Plan, history: History, progress: Progress, *, strict: bool) -> None:
        self.plan = plan
        self.history = history
        self.progress = progress
        self.strict = strict
        self.timing = Timing()
        self.batch_size = 0
        self._failed: set[str] = set()

    def all(self, engine: Engine, work: Sequence[Unit]) -> None:
        """Have the engine run the units, and record each as it is done."""
        started = time.perf_counter()
        if work:
            self.progress.total = sum(len(unit.positions) for unit in work)
            self._describe(engine)
            with self.progress:
                self._follow(engine, work)
        self.timing.wall = time.perf_counter() - started

    def seal(self, tasks: Sequence[Task], *, options: Mapping[str, Any]) -> Outcome:
        """Seal the store when nothing is left, here and in other shards."""
        started = time.perf_counter()
        folder = self.history.folder
        with folder.sealing():
            # another shard may have sealed meanwhile
            latest = self.history if folder.shard is None else History(folder, self.history.collection)
            outcome = Sealing(latest).finish(tasks, provenance={"options": options})
        self.timing.write += time.perf_counter() - started
        return outcome

    def _follow(self, engine: Engine, work: Sequence[Unit]) -> None:
        events = engine.run(self.plan, work)
        try:
            for event in events:
                if isinstance(event, ImagesDone):
                    self._images(event)
                else:
                    self._unit(event)
        finally:
            getattr(events, "close", lambda: None)()  # ends what the engine started

    def _images(self, done: ImagesDone) -> None:
        self._failed.update(failure.key for failure in done.failures)
        if done.failures and self.strict:
            failure = done.failures[0]
            raise InputError(
                f"{failure.key}: {failure.reason} (--strict); repair or remove the image, or run without --strict"
            )
        self.progress.advance(done.images, note=f"{len(self._failed)} failed" if self._failed else "")

    def _unit(self, done: UnitDone) -> None:
        self.history.begin()
        started = time.perf_counter()
        self.history.folder.record(done.unit, done.file.path, rows=done.file.rows, failures=done.file.failures)
        self.timing += done.timing
        self.timing.write += time.perf_counter() - started
        self.batch_size = min(self.batch_size or done.batch_size, done.batch_size)

    def _describe(self, engine: Engine) -> None:
        plan, compute = self.plan, self.plan.compute
        names = ", ".join(planned.reference.name for planned in plan.backbones)
        device = f"{', '.join(compute.devices)} in {compute.precision}"
        self.progress.say(
            f"{self.progress.total} images to embed with {names} on {device}, batch size "
            f"{compute.batch_size or 'by free memory'}, {compute.workers or 'no'} decoding processes, "
            f"{version_of(plan.pixels.decoder)}" + ("" if engine.name == "local" else f", engine {engine.name}")
        )


def _work(history: History, tasks: Sequence[Task], shard: tuple[int, int] | None) -> list[Unit]:
    """Return the units that are left for this shard; refuse tasks that the store has, produced differently."""
    history.require_same(tasks)
    todo = {task: history.missing(task) for task in tasks}
    return share_of(list(units(len(history.keys), todo)), images=len(history.keys), shard=shard)


def _engine(name: str, devices: Sequence[str]) -> Engine:
    if name == AUTO:
        name = "processes" if len(devices) > 1 else "local"
    engine: Engine = ENGINES.load(name)()
    return engine


def _positions(work: Sequence[Unit]) -> set[int]:
    return {position for unit in work for position in unit.positions}


def _require_some(outcome: Outcome, path: Path) -> None:
    if outcome.store is None and not outcome.unfinished:
        first = next(iter(outcome.failures.items()), ("", ""))
        raise InputError(
            f"none of the {outcome.images} images could be used (the first, {first[0]!r}: {first[1]}); "
            f"repair the images. {path} was not made"
        )


def _several(roots: Path | str | Sequence[Path | str]) -> list[Path | str]:
    return [roots] if isinstance(roots, (str, Path)) else list(roots)


def _reencoding(match_format: str | None, fiser_compat: bool) -> tuple[PixelStep, ...]:
    if fiser_compat and match_format not in (None, FISER_REENCODING):
        raise OptionError(f"--fiser-compat means --match-format {FISER_REENCODING}, and {match_format!r} was given too")
    wanted = FISER_REENCODING if fiser_compat else match_format
    if wanted is None:
        return ()
    view = parse(wanted)
    if view.input is not None or not view.pixels:
        raise OptionError(f"--match-format {wanted!r}: give a perturbation of pixels, for example jpeg:90")
    return view.pixels


def _require_shard(shard: tuple[int, int] | None) -> None:
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise OptionError(f"--shard {shard[0]}/{shard[1]}: give i/n with i from 1 to n")


def _output_of(out: Path | str, *, inputs: Iterable[Path | str]) -> Path:
    path = Path(out).expanduser().absolute()
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}; make it, or give another -o")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give -o the name of a file, for example {path / 'store.h5'}")
    require_outputs([Output(path, STORE)], inputs=inputs)
    return path


def _files_read(
    roots: Path | str | Sequence[Path | str],
    backbones: str | Sequence[str],
    weights: Mapping[str, Path | str] | Sequence[str],
) -> list[Path]:
    """Return the files that a run reads, as far as they are named: tables or archives, and weight files."""
    named = [backbones] if isinstance(backbones, str) else backbones
    given = weights.values() if isinstance(weights, Mapping) else weight_files(weights)
    return [Path(one).expanduser() for one in (*_several(roots), *named, *given)]


def _options(plan: Plan, layout: str, engine: Engine) -> dict[str, Any]:
    return {
        "layout": [each.name for each in plan.samples.layouts] if layout == AUTO else layout,
        "device": ",".join(plan.compute.devices),
        "engine": engine.name,
        "workers": plan.compute.workers,
    }
