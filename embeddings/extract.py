"""From images to one feature store: plan what is missing, have an engine run it, seal; run again to go on."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fewshot.core.errors import FewshotError, InputError, OptionError, OutputError, StoreError
from fewshot.core.progress import Progress
from fewshot.core.provenance import stack_versions
from fewshot.embeddings.backbones.base import BACKBONES, HEAD, Backbone, create
from fewshot.embeddings.engines.base import Timing, Workload
from fewshot.embeddings.engines.local import Local
from fewshot.embeddings.inputs.decoders import PILLOW, decoder_of, version_of
from fewshot.embeddings.inputs.views import PixelStep, View, parse
from fewshot.embeddings.layer_key import CLEAN, LOGIT
from fewshot.embeddings.layouts.collection import AUTO, collect, require_expected
from fewshot.embeddings.pipeline.forward import Device, device_of
from fewshot.embeddings.pipeline.history import History, Outcome
from fewshot.embeddings.pipeline.ledger import PartsFolder
from fewshot.embeddings.pipeline.memory import fitting_batch
from fewshot.embeddings.pipeline.plan import Task, Unit, fingerprint, share_of, units
from fewshot.embeddings.pipeline.tuning import compile_networks, lay_channels_last
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.weights.locate import notices, require_known, resolve

FISER_REENCODING = "jpeg:75"  # default of FiSeR's LMDB builder, scripts/prepare_lmdb.py @ ad2637c
_IMAGES_PER_WORKER = 48
_FAILURES_SHOWN = 10


@dataclass(frozen=True)
class Extraction:
    """What a run of ``extract`` did: the outcome, where the time went, and what ran it."""

    outcome: Outcome
    embedded: int
    timing: Timing
    device: Device
    workers: int

    def facts(self) -> dict[str, Any]:
        """Return what was done as JSON values."""
        outcome, store = self.outcome, self.outcome.store
        return {
            "store": None if store is None else str(store.path),
            "digest": None if store is None else store.digest,
            "sealed": store is not None,
            "images": outcome.images,
            "rows": outcome.rows,
            "failures": dict(outcome.failures),
            "lacking": outcome.lacking,
            "embedded": self.embedded,
            "changed": outcome.changed,
            "notes": list(outcome.notes),
            "device": str(self.device.name),
            "precision": self.device.precision,
            "batch_size": self.device.batch,
            "workers": self.workers,
            "seconds": {name: round(value, 3) for name, value in vars(self.timing).items()},
        }

    def summary(self) -> list[str]:
        """Return what was done in lines; the last one counts: images in = rows + failures."""
        outcome = self.outcome
        lines = [f"note: {note}" for note in outcome.notes]
        lines += [f"failed: {key}: {reason}" for key, reason in list(outcome.failures.items())[:_FAILURES_SHOWN]]
        if len(outcome.failures) > _FAILURES_SHOWN:
            lines.append(f"... and {len(outcome.failures) - _FAILURES_SHOWN} more; `fewshot inspect` lists them all")
        if self.embedded:
            lines += [self.timing.split(), self.timing.advice(self.workers)]
        if outcome.store is None:
            return [*lines, f"{outcome.images} images in; the store is not sealed yet"]
        lacking = f", {outcome.lacking} features lacking" if outcome.lacking else ""
        counts = f"{outcome.images} images in = {outcome.rows} rows + {len(outcome.failures)} failures{lacking}"
        what = "" if outcome.changed else " (nothing was added)"
        return [*lines, f"{outcome.store.path}: {counts}{what}"]


def embed(
    roots: Path | str | Sequence[Path | str],
    *,
    backbones: str | Sequence[str],
    out: Path | str,
    quiet: bool = False,
    **options: Any,
) -> FeatureStore:
    """Embed the images of some folders or tables with every named backbone in one pass, into one sealed store.

    Run again after a kill it goes on; run again with another backbone or view it adds to the same store.

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
    device: str = "auto",
    precision: str = "auto",
    decoder: str = PILLOW,
    batch_size: int | str = "auto",
    compile: bool = False,
    workers: int | str = "auto",
    shard: tuple[int, int] | None = None,
    limit: int | None = None,
    expect_count: int | None = None,
    expect_sources: Iterable[str] = (),
    one_class: bool = False,
    strict: bool = False,
    store_dtype: Literal["float32", "float16"] = "float32",
    match_format: str | None = None,
    fiser_compat: bool = False,
    quiet: bool = False,
) -> Extraction:
    """Embed images and tell what was done; ``embed`` is the short form.

    Args:
        roots: folders or tables of images; layout: how they lie on disk, or ``auto``.
        backbones: names, with a variant after a colon where there is one.
        out: the store's file; unfinished work lies beside it in ``OUT.parts``.
        layers: backbone -> the layers wanted; all of the card's when it is not named.
        views: perturbations of every image (``fewshot list views``).
        weights: {NAME: PATH} or a list of ``NAME=PATH``, ``NAME=random``.
        device, precision, batch_size: where and how networks run; ``auto`` chooses.
        decoder: ``pillow``, the reference; ``torchvision``, faster on JPEG and WebP; ``nvjpeg``, JPEG on the GPU.
        compile: have ``torch.compile`` compile the networks.
        workers: decoding processes; 0 decodes in this process.
        shard: (i, n), i from 1: do only this share of the work; the last share to end seals the store.
        limit: at most so many images, spread evenly; expect_count, expect_sources: what a published split must hold.
        one_class: accept images of one class; strict: an image that cannot be used is an error.
        store_dtype: type of stored features; float16 refuses overflow.
        match_format: a pixel view done to every image of both classes first, for example ``jpeg:90``;
            fiser_compat: the same with FiSeR's ``jpeg:75``.
        quiet: show nothing on stderr.

    Raises:
        InputError: no image, unknown labels, one class only, every image failed.
        WeightsError: a weight file is missing, damaged or of another network.
        StoreError: the store was made otherwise, of other images, or is being written.
        OutputError: the store cannot be written.
        DeviceError, OptionError, UnknownNameError: an option's value cannot be used.
    """
    started = time.perf_counter()
    path = Path(out).expanduser().absolute()
    place = device_of(device, precision, batch_size)
    parsed = tuple({view.name: view for view in map(parse, views)}.values())
    reencode = _reencoding(match_format, fiser_compat)
    decoder_of(decoder)
    _require_shard(shard)
    _require_output(path)
    collection = collect(_several(roots), layout=layout, limit=limit, one_class=one_class)
    require_expected(collection, count=expect_count, sources=expect_sources)
    progress = Progress(None, label="embed", unit="images", quiet=quiet)
    for line in collection.describe():
        progress.say(line)
    folder = PartsFolder(path, shard=shard)
    with folder.locked():
        history = History(folder, collection)
        loaded = load_backbones(_names(backbones), weights=_requests(weights), layers=layers or {}, device=place)
        for backbone in loaded.values():
            for notice in notices(backbone.card, backbone.weights_sha256):
                progress.say(notice)
        _tune(loaded, place, compiled=compile)
        tasks = [
            task_of(backbone, view, reencode=reencode, decoder=decoder, device=place, dtype=store_dtype)
            for backbone in loaded.values()
            for view in parsed
        ]
        history.require_same(tasks)
        todo = {task: history.missing(task) for task in tasks}
        work = share_of(list(units(len(history.keys), todo)), images=len(history.keys), shard=shard)
        workload = Workload(
            collection=collection,
            keys=history.keys,
            index=history.index,
            backbones=loaded,
            device=place,
            known=history.known(),
            reencode=reencode,
            decoder=decoder,
            folder=folder,
            dtype=store_dtype,
            workers=_workers(workers, work),
            strict=strict,
            progress=progress,
        )
        workload.timing.start = time.perf_counter() - started
        if work:
            history.begin()
        _run(work, workload)
        sealing = time.perf_counter()
        with folder.sealing():
            latest = history if shard is None else History(folder, collection)  # another shard may have sealed
            outcome = latest.finish(tasks, facts={"options": _options(workload, layout)})
        workload.timing.write += time.perf_counter() - sealing
    _require_some(outcome, path)
    return Extraction(outcome, len(_positions(work)), workload.timing, place, workload.workers)


def load_backbones(
    names: Sequence[str], *, weights: Sequence[str], layers: Mapping[str, Sequence[str]], device: Device
) -> dict[str, Backbone]:
    """Return the loaded backbones by card name, in the order asked.

    Raises:
        UnknownNameError: no such backbone or layer.
        WeightsError: a weight file is missing or does not fit.
    """
    if not names:
        raise OptionError("no backbone was named; give --backbone NAME, see `fewshot list backbones`")
    made = [create(name, layers=_layers_of(name, layers)) for name in dict.fromkeys(names)]
    unknown = [name for name in layers if name not in names and name not in {each.card.name for each in made}]
    if unknown:
        raise OptionError(f"--layer {unknown[0]}=...: this backbone is not among {', '.join(names)}")
    require_known(weights, [backbone.card for backbone in made])
    found = [resolve(backbone.card, weights) for backbone in made]
    return {
        backbone.card.name: backbone.load(device=device.name, weights=given)
        for backbone, given in zip(made, found, strict=True)
    }


def task_of(
    backbone: Backbone,
    view: View,
    *,
    reencode: tuple[PixelStep, ...],
    decoder: str,
    device: Device,
    dtype: str,
) -> Task:
    """Return the task of one loaded backbone under one view, with how its features are made."""
    card = backbone.card
    facts = {
        "weights": dict(backbone.weights_sha256),
        "input": str(card.input),
        "decoder": decoder,
        "reencode": "+".join(map(str, reencode)),
        "precision": device.precision,
        "dtype": dtype,
        "decoder_version": version_of(decoder),
        "device": str(device.name),
        "batch_size": device.batch,
        "channels_last": card.name in device.channels_last,
        "compiled": device.compiled,
        "versions": stack_versions(),
        "card": {
            "paper": card.paper,
            "reference": card.reference,
            "licence": card.licence,
            "equality": card.equality,
            "note": card.note,
        },
    }
    wanted = [layer for layer in backbone.layers if layer != LOGIT or _has_head(backbone)]
    dimensions = {layer: backbone.dimension(layer) or 0 for layer in wanted}
    return Task(card.name, view, dimensions, card.layer, card.input, facts, fingerprint(facts))


def _tune(backbones: Mapping[str, Backbone], device: Device, *, compiled: bool) -> None:
    """Choose the batch size where that was asked for, lay networks out for speed, and have them compiled if asked."""
    device.batch = device.batch or fitting_batch(device.name, backbones.values())
    device.channels_last = lay_channels_last(backbones.values())
    device.compiled = compiled
    if compiled:
        compile_networks(backbones.values())


def _has_head(backbone: Backbone) -> bool:
    """Whether the logit can be computed: its head was loaded, or is no separate file."""
    optional = {file.part for file in backbone.card.weights if file.optional}
    return HEAD not in optional or HEAD in backbone.weights_sha256


def _run(work: Sequence[Unit], workload: Workload) -> None:
    images = sum(len(unit.positions) for unit in work)
    workload.progress.total = images
    started = time.perf_counter()
    if images:
        device = workload.device
        workload.progress.say(
            f"{images} images to embed with {', '.join(workload.backbones)} on {device.name} in {device.precision}, "
            f"batch size {device.batch}, {workload.workers or 'no'} decoding processes, {version_of(workload.decoder)}"
        )
        with workload.progress:
            Local().run(work, workload)
    workload.timing.wall = time.perf_counter() - started


def _positions(work: Sequence[Unit]) -> set[int]:
    return {position for unit in work for position in unit.positions}


def _require_some(outcome: Outcome, path: Path) -> None:
    if outcome.store is None and not outcome.unfinished:
        first = next(iter(outcome.failures.items()), ("", ""))
        raise InputError(
            f"none of the {outcome.images} images could be used (the first, {first[0]!r}: {first[1]}); "
            f"repair the images. {path} was not made"
        )


def _layers_of(name: str, layers: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    return tuple(layers[name]) if name in layers else None


def _several(roots: Path | str | Sequence[Path | str]) -> list[Path | str]:
    return [roots] if isinstance(roots, (str, Path)) else list(roots)


def _names(backbones: str | Sequence[str]) -> list[str]:
    names = [backbones] if isinstance(backbones, str) else list(backbones)
    if "all" not in names:
        return names
    return [name for name in BACKBONES.names() if _ready(name)]


def _ready(name: str) -> bool:
    """Whether a backbone's weights are on this machine; generic adapters, which need a model's name, are not."""
    if BACKBONES.load(name).generic:
        return False
    try:
        resolve(create(name).card)
    except FewshotError:
        return False
    return True


def _requests(weights: Mapping[str, Path | str] | Sequence[str]) -> list[str]:
    if isinstance(weights, Mapping):
        return [f"{name}={value}" for name, value in weights.items()]
    return list(weights)


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


def _require_output(path: Path) -> None:
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}; make it, or give another -o")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give -o the name of a file, for example {path / 'store.h5'}")


def _workers(workers: int | str, work: Sequence[Unit]) -> int:
    if workers != "auto":
        if not str(workers).isdecimal():
            raise OptionError(f"--workers {workers!r}: give auto or a whole number, 0 for none")
        return int(workers)
    images = sum(len(unit.positions) for unit in work)
    return min(len(os.sched_getaffinity(0)), images // _IMAGES_PER_WORKER)


def _options(workload: Workload, layout: str) -> dict[str, Any]:
    return {
        "layout": [each.name for each in workload.collection.layouts] if layout == AUTO else layout,
        "device": str(workload.device.name),
        "workers": workload.workers,
    }
