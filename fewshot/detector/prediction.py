"""The whole job of ``predict``: inputs are judged in order, and verdicts are logged, written and shown as they come."""

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError, OptionError
from fewshot.core.outputs import AUDIT_LOG, Output, require_outputs
from fewshot.core.progress import Progress
from fewshot.detector.audit_log import AuditLog, entries
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.detector.prediction_inputs import ImageFiles, Input, path_lists, read_inputs
from fewshot.detector.stability import DEFAULT
from fewshot.detector.stored_images import judged_rows, require_judgeable, stored_count
from fewshot.detector.tally import Tally
from fewshot.detector.verdict_files import VerdictFile, verdict_file, verdict_kind
from fewshot.embeddings.pipeline.settings import AUTO, workers_of
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.weights.requests import files as weight_files

Where = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class PredictSettings:
    """How images are judged, beside what the detector says of itself.

    Args:
        stability: judge re-encodings of every image as well; a verdict that one of them changes becomes unsure.
        c2pa: read content credentials and EXIF of every file; trust_list: certificates of signers that are trusted.
        where: which images of stores.
        weights: ``NAME=PATH`` requests; device: where networks run.
        workers: decoding processes, or ``auto``.
        strict: an image that cannot be judged is an error, once all others are.
    """

    stability: bool = False
    c2pa: bool = False
    trust_list: Path | None = None
    where: Where | None = None
    weights: tuple[str, ...] = ()
    device: str = AUTO
    workers: int | str = AUTO
    strict: bool = False

    @property
    def views(self) -> tuple[str, ...]:
        """The re-encodings under which images are judged as well."""
        return DEFAULT if self.stability else ()


def predict(
    detector: Detector,
    images: Sequence[Path | str],
    settings: PredictSettings | None = None,
    *,
    out: Path | None = None,
    log: Path | None = None,
    show: Callable[[Sequence[Judged]], None] = lambda judged: None,
    end: Callable[[Tally], None] = lambda tally: None,
    quiet: bool = False,
) -> Tally:
    """Judge images as they are listed, in bounded memory, and return the counts.

    Every verdict is logged, then written, then shown. The log has what was judged when this is interrupted or killed;
    ``out`` is there, whole, when all is done.

    Args:
        images: files, folders, patterns, stores, or ``-``, as ``read_inputs`` takes them.
        out: a file of verdicts: .csv, .jsonl or .parquet; log: an audit log, which is appended to.
        show: told of some images at a time, in order; end: told of the counts, before failures become an error.
        quiet: no progress on stderr.

    Raises:
        InputError: nothing to predict; no image could be judged, or one could not and ``strict`` is set.
        StoreError: a store's features, or the weights here, are not like those that the detector was fitted on.
        OptionError: options that contradict each other.
        OutputError: a file cannot be written, or what is there must stay.
        FewshotError: as ``Scorer``.
    """
    settings = settings or PredictSettings()
    _require_files(detector, images, settings, out=out, log=log)
    inputs = read_inputs(images)
    _require_judgeable(detector, inputs, settings)
    files, stored = _file_count(inputs), _stored_count(inputs, settings.where)
    progress = Progress(None if files is None else files + stored, label="predict", unit="images", quiet=quiet)
    job = _Job(detector, settings, Tally(), progress, files)
    try:
        with ExitStack() as stack:
            audit = None if log is None else stack.enter_context(AuditLog(log))
            written = None if out is None else stack.enter_context(job.verdict_file(out))
            stack.enter_context(progress)
            for some in stack.enter_context(closing(job.judged(inputs))):
                job.deliver(some, audit, written)
                show(some)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_interrupted(job, out=out, log=log)) from None
    job.tally.left_out = _left_out(inputs)
    end(job.tally)
    _require_judged(job.tally, strict=job.settings.strict)
    return job.tally


@dataclass(frozen=True)
class _Job:
    """One run of ``predict``; ``files`` is how many images are to be decoded, None where that is not known."""

    detector: Detector
    settings: PredictSettings
    tally: Tally
    progress: Progress
    files: int | None

    def judged(self, inputs: Sequence[Input]) -> Generator[Sequence[Judged], None, None]:
        """Yield what is said of every image in order, some at a time."""
        with ExitStack() as stack:
            scorer: Any = None
            for stored, group in groupby(inputs, key=lambda one: isinstance(one, FeatureStore)):
                if stored:
                    yield from self._rows(list(group))  # type: ignore[arg-type]  # stores, by the key
                    continue
                scorer = scorer or stack.enter_context(self._scorer())
                lists = path_lists(list(group), _standard_input())  # type: ignore[arg-type]  # the others
                found = scorer.stream_lists(lists, advance=self._advance)
                yield from self._with_provenance(found, stack) if self.settings.c2pa else found

    def deliver(self, some: Sequence[Judged], audit: AuditLog | None, written: VerdictFile | None) -> None:
        """Count some images, log their verdicts, and write them."""
        if audit is not None:
            audit.append(entries(self.detector, some, now=datetime.now(UTC)))
        if written is not None:
            written.write(some)
        for judged in some:
            self.tally.add(judged)

    def verdict_file(self, out: Path) -> Any:
        """Return the file of verdicts as a context manager."""
        return verdict_file(
            out,
            members=[member.name for member in self.detector.description.members],
            views=self.settings.views,
            provenance=self.settings.c2pa,
        )

    def _rows(self, stores: Sequence[FeatureStore]) -> Iterator[Sequence[Judged]]:
        for store in stores:
            for some in judged_rows(self.detector, store, where=self.settings.where, views=self.settings.views):
                yield some
                self._advance(len(some))

    def _scorer(self) -> Any:
        from fewshot.detector.scorer import Scorer  # torch: stored features need none of it

        settings = self.settings
        scorer = Scorer(
            self.detector,
            weights=settings.weights,
            device=settings.device,
            workers=workers_of(settings.workers, images=self.files),
            views=settings.views,
        )
        self.progress.say(f"judging with {self.detector.name} on {scorer.device}")
        return scorer

    def _with_provenance(self, found: Iterator[list[Judged]], stack: ExitStack) -> Iterator[list[Judged]]:
        from fewshot.detector.credentials import Credentials

        credentials = stack.enter_context(Credentials(trust_list=self.settings.trust_list))
        for some in found:
            yield [
                replace(judged, provenance=credentials.evidence(Path(judged.image))) if judged.judgement else judged
                for judged in some
            ]

    def _advance(self, images: int) -> None:
        self.progress.advance(images, note=f"{self.tally.failed} failed" if self.tally.failed else "")


def _require_files(
    detector: Detector, images: Sequence[Path | str], settings: PredictSettings, *, out: Path | None, log: Path | None
) -> None:
    outputs = [] if out is None else [Output(out, verdict_kind(out))]
    read = [Path(one).expanduser() for one in images]
    inputs = [detector.path, settings.trust_list, *read, *weight_files(settings.weights)]
    require_outputs([*outputs, Output(log, AUDIT_LOG, "--log")], inputs=inputs)


def _require_judgeable(detector: Detector, inputs: Sequence[Input], settings: PredictSettings) -> None:
    """Refuse what cannot be judged before anything is."""
    stores = [one for one in inputs if isinstance(one, FeatureStore)]
    if settings.where and not stores:
        raise OptionError("--where chooses images of a store, and none was given; leave it out")
    if settings.c2pa and stores:
        raise OptionError(
            f"--c2pa reads image files, and {stores[0].path} is a store of features; give the images instead"
        )
    for store in stores:
        require_judgeable(detector, store, settings.views)


def _file_count(inputs: Sequence[Input]) -> int | None:
    """Return how many images are to be decoded, None where only reading a list says so."""
    counts = [one.count() for one in inputs if isinstance(one, ImageFiles)]
    return None if None in counts else sum(count for count in counts if count is not None)


def _stored_count(inputs: Sequence[Input], where: Where | None) -> int:
    return sum(stored_count(one, where) for one in inputs if isinstance(one, FeatureStore))


def _left_out(inputs: Sequence[Input]) -> dict[str, int]:
    counts = sum((one.ignored for one in inputs if isinstance(one, ImageFiles)), Counter[str]())
    return dict(sorted(counts.items()))


def _standard_input() -> Any:
    return None if sys.stdin is None else sys.stdin.buffer


def _interrupted(job: _Job, *, out: Path | None, log: Path | None) -> str:
    kept = f"their verdicts are kept in {log}" if log else "--log FILE would have kept their verdicts"
    gone = f", and {out} was not written" if out else ""
    return (
        f"interrupted after {job.tally.images} images, in the order given; {kept}{gone}. Run the same command again to "
        f"judge all of them, or give the rest as a list on -"
    )


def _require_judged(tally: Tally, *, strict: bool) -> None:
    if not tally.failed or not (strict or tally.failed == tally.images):
        return
    (first, reason), *_ = tally.failures.items()
    if tally.failed == tally.images:
        raise InputError(
            f"none of the {tally.images} images could be judged (the first, {first}: {reason}); repair the images, or "
            f"correct their names"
        )
    raise InputError(
        f"{tally.failed} of {tally.images} images could not be judged (--strict; the first, {first}: {reason}); repair "
        f"or remove them, or run without --strict"
    )
