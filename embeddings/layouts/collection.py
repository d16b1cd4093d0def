"""The list of samples an extraction works on: read from roots by their layouts, checked, and described."""

import itertools
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from fewshot.core.errors import InputError, OptionError
from fewshot.core.names import require_name, require_value, value_fault
from fewshot.embeddings.layouts.base import LAYOUTS, Layout, Sample
from fewshot.embeddings.layouts.look_alikes import look_alike
from fewshot.embeddings.layouts.names import require_distinct, require_source
from fewshot.embeddings.layouts.repeated import require_once
from fewshot.embeddings.layouts.tree import archive_remedy, class_level, left_out

AUTO = "auto"
MAX_IMAGES = 20_000_000  # samples lie in memory, about half a kilobyte each
_MANIFEST = ("table",)  # layouts that read a list of the user's own
_NUMBER_WORDS = ("0", "1")  # as folder names these number shards as often as they name classes
_TEXTS = ("path", "member", "source", "split", "dataset", "category", "group")
_UNNAMED = "column without a name, such as the index that pandas writes"


@dataclass(frozen=True)
class Collection:
    """Labelled samples of one or more roots, in a fixed order with unique keys.

    Args:
        roots: absolute paths; layouts: how each is read.
        samples, root: one entry per image, ``root`` being the number of its root.
        keys: unique names; those of a single root are the samples' own.
        warnings: what a reader of the list must know.
    """

    roots: tuple[Path, ...]
    layouts: tuple[Layout, ...]
    samples: list[Sample]
    root: list[int]
    keys: list[str]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def left_out(self) -> dict[str, int]:
        """Return what lay in the roots and was not taken, in words -> how many, sorted."""
        counts = sum((layout.ignored for layout in self.layouts), Counter[str]())
        return dict(sorted(counts.items()))

    def describe(self) -> list[str]:
        """Return what was understood, in lines: layout and counts per source, and what was left out."""
        lines = []
        for number, (root, layout) in enumerate(zip(self.roots, self.layouts, strict=True)):
            of_root = [sample for sample, of in zip(self.samples, self.root, strict=True) if of == number]
            lines.append(f"{root}: layout {layout.name}, {len(of_root)} images")
            for synthetic, name in ((False, "natural"), (True, "synthetic")):
                counts = Counter(sample.source for sample in of_root if sample.synthetic == synthetic)
                listed = ", ".join(f"{source} {count}" for source, count in sorted(counts.items()))
                lines.append(f"  {name:<9} {listed or 'none'}")
            splits = Counter(sample.split for sample in of_root if sample.split)
            if splits:
                lines.append(
                    f"  {'split':<9} {', '.join(f'{split} {count}' for split, count in sorted(splits.items()))}"
                )
            lines += [f"  left out: {count} x {what}" for what, count in sorted(layout.ignored.items()) if count]
        return [*lines, *(f"WARNING: {warning}" for warning in self.warnings)]


def collect(
    roots: Sequence[Path | str],
    *,
    layout: str = AUTO,
    limit: int | None = None,
    one_class: bool = False,
    skip_unlabelled: bool = False,
    unlabelled: bool | None = None,
) -> Collection:
    """Read the samples of all roots.

    Args:
        layout: a layout's name, or ``auto``.
        limit: at most this many, spread evenly over the list.
        one_class: accept images of one class only.
        skip_unlabelled: leave out rows that are of neither class, counted, instead of refusing them.
        unlabelled: whether images in folders that nothing labels are synthetic; None refuses them.

    Raises:
        InputError: no root or image, an unknown label, one class only, a name twice, or one that looks like another.
        UnknownNameError: no such layout.
    """
    if not roots:
        raise InputError("no folder or table of images was given; name at least one")
    paths = tuple(Path(root).expanduser().absolute() for root in roots)
    layouts = tuple(layout_of(path, layout) for path in paths)
    samples: list[Sample] = []
    root_numbers: list[int] = []
    for number, (path, chosen) in enumerate(zip(paths, layouts, strict=True)):
        chosen.skip_unlabelled = skip_unlabelled
        chosen.unlabelled = unlabelled
        of_root = _samples_of(path, chosen)
        if layout == AUTO and path.is_dir():
            _require_agreeing_folders(path, chosen, of_root)
        samples += of_root
        root_numbers += [number] * len(of_root)
    require_once(paths, samples, root_numbers)
    if limit is not None:
        if limit < 1:
            raise OptionError(f"--limit {limit}: give at least 1")
        kept = sorted({index * len(samples) // limit for index in range(min(limit, len(samples)))})
        if limit < len(samples):
            samples, root_numbers = [samples[index] for index in kept], [root_numbers[index] for index in kept]
    keys, warnings = _keys(paths, samples, root_numbers), _distinct_sources(paths, samples)
    collection = Collection(paths, layouts, samples, root_numbers, keys, warnings)
    _require_both_classes(collection, one_class=one_class)
    return collection


def _checked(root: Path, layout: Layout) -> Iterator[Sample]:
    """Yield the samples of a root whose names and texts a store can keep; a column without a name is left out.

    Raises:
        InputError: a name or text that it cannot.
    """
    columns: set[str] = set()
    for sample in layout.samples(root):
        for name in sample.extra:
            if name not in columns and name.strip():
                columns.add(require_name(name, what="column", where=str(root)))
        kept = {name: value for name, value in sample.extra.items() if name in columns}
        if len(kept) < len(sample.extra):
            layout.ignored[_UNNAMED] = 1
        _require_values(root, sample)
        yield sample if len(kept) == len(sample.extra) else replace(sample, extra=kept)


def _require_values(root: Path, sample: Sample) -> None:
    fields = {name: getattr(sample, name) for name in _TEXTS}
    texts = {**fields, **sample.extra}
    if value_fault("".join(texts.values())):
        for name, text in texts.items():
            require_value(text, what=name, where=f"{root}, {sample.path!r}")


def loose_files(paths: Sequence[Path]) -> Collection:
    """Return image files without labels, by their number: what a search is given."""
    samples = [Sample(str(path.absolute()), source="", synthetic=False) for path in paths]
    keys = [str(number) for number in range(len(paths))]
    return Collection((Path(),), (LOOSE,), samples, [0] * len(paths), keys)


@final
class _LooseFiles(Layout):
    """Single files, each at its own path; never recognised, only made by ``loose_files``."""

    name = "files"

    def recognises(self, root: Path) -> bool:
        return False

    def samples(self, root: Path) -> Iterator[Sample]:
        return iter(())


LOOSE = _LooseFiles()  # one for all, so that lists of files are known to be read alike


def layout_of(root: Path, name: str) -> Layout:
    """Return the layout called ``name``, or the one that recognises ``root`` with the highest priority.

    Raises:
        InputError: there is no such file or folder, no layout fits it, or several do; a manifest among images of
            another layout is one of several.
    """
    if name != AUTO:
        named: Layout = LAYOUTS.load(name)()
        _require_there(root)
        return named
    _require_there(root)
    known: list[Layout] = [LAYOUTS.load(each)() for each in LAYOUTS.names()]
    with _listing(root):
        fitting = [each for each in known if each.recognises(root)]
    if not fitting:
        remedy = archive_remedy(root.name) if root.is_file() else ""
        raise InputError(
            f"{root} fits none of the layouts {', '.join(LAYOUTS.names())}; "
            + (remedy or "choose one with --layout, or give a table with the columns path, source, synthetic")
        )
    best = max(fitting, key=lambda each: each.priority)
    first = [each for each in fitting if each.priority == best.priority]
    if best.name in _MANIFEST and root.is_dir():  # a folder that only might be one of class folders has priority 0
        first = [each for each in fitting if each.priority > 0]
    if len(first) > 1:
        names = ", ".join(each.name for each in first)
        raise InputError(f"{root} could be any of the layouts {names}; choose one with --layout")
    return first[0]


def _require_there(root: Path) -> None:
    try:
        mode = root.stat().st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            alike = look_alike(root)
            raise InputError(
                f"there is no file or folder {root}{alike}; name the folder or table that holds the images"
            ) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{root} cannot be read ({reason}); allow reading it, or name another") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InputError(f"{root} is neither a file nor a folder; name the folder or table that holds the images")


@contextmanager
def _listing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        named = error.filename or root
        raise InputError(
            f"{named} cannot be read ({error.strerror or error}); allow reading it, leave it out, or choose another "
            f"--layout"
        ) from error


def _samples_of(root: Path, layout: Layout) -> list[Sample]:
    """Return the samples of one root, as many as memory is meant to hold."""
    with _listing(root):
        found = list(itertools.islice(_checked(root, layout), MAX_IMAGES + 1))
    if len(found) > MAX_IMAGES:
        raise InputError(f"{root} lists more than {MAX_IMAGES:,} images; divide it into several roots and stores")
    return found


def _require_agreeing_folders(root: Path, layout: Layout, samples: Iterable[Sample]) -> None:
    """Refuse a manifest that gives an image the other class than the folder it lies in; only one of them is right."""
    if layout.name not in _MANIFEST:
        return
    for sample in samples:
        found = class_level(part for part in sample.path.split("/")[:-1] if part not in _NUMBER_WORDS)
        if found is not None and found[1] != sample.synthetic:
            listed, folder = ("synthetic", "natural") if sample.synthetic else ("natural", "synthetic")
            raise InputError(
                f"{root}: the manifest says that {sample.path!r} is {listed}, and the folder it lies in says {folder}; "
                f"correct one of them, or choose the manifest with --layout table, the folders with --layout folder"
            )


def _distinct_sources(roots: tuple[Path, ...], samples: list[Sample]) -> tuple[str, ...]:
    sources: dict[str, Sample] = {}
    for sample in samples:
        sources.setdefault(sample.source, sample)
    for name, sample in sources.items():
        require_source(name, where=f"{sample.key!r}")
    return tuple(require_distinct(sources, where=", ".join(map(str, roots))))


def require_expected(collection: Collection, *, count: int | None = None, sources: Iterable[str] = ()) -> None:
    """Compare the images found with a published split.

    Raises:
        InputError: another number of images, or other sources.
    """
    if count is not None and len(collection) != count:
        raise InputError(
            f"{count} images were expected and {len(collection)} found in {_named(collection)}"
            f"{_left_out(collection)}; complete the data, or correct --expect-count"
        )
    wanted, found = set(sources), {sample.source for sample in collection.samples}
    missing, unexpected = sorted(wanted - found), sorted(found - wanted)
    if wanted and wanted != found:
        raise InputError(
            f"the sources of {_named(collection)} are not the expected ones: missing {missing or 'none'}, "
            f"unexpected {unexpected or 'none'}{_left_out(collection)}; complete the data, or correct --expect-sources"
        )


def _named(collection: Collection) -> str:
    return ", ".join(str(root) for root in collection.roots)


def _left_out(collection: Collection) -> str:
    return left_out(Counter(collection.left_out()))


def _keys(roots: tuple[Path, ...], samples: list[Sample], root_numbers: list[int]) -> list[str]:
    if len(roots) == 1:
        keys = [sample.key for sample in samples]
    else:
        names = [root.name if root.is_dir() else root.parent.name for root in roots]
        prefix = [f"{name}#{number}" if names.count(name) > 1 else name for number, name in enumerate(names)]
        keys = [f"{prefix[number]}/{sample.key}" for sample, number in zip(samples, root_numbers, strict=True)]
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise InputError(f"two images have the name {twice!r}, one of them in an archive; rename one of them")
    return keys


def _require_both_classes(collection: Collection, *, one_class: bool) -> None:
    classes = {sample.synthetic for sample in collection.samples}
    if not collection.samples:
        raise InputError(
            f"no image was found in {_named(collection)}{_left_out(collection)}; name the folder or table that holds "
            f"them"
        )
    if len(classes) < 2 and not one_class:
        only = "synthetic" if classes == {True} else "natural"
        sources = sorted({sample.source for sample in collection.samples})
        raise InputError(
            f"all {len(collection)} images of {_named(collection)} are {only} (sources: {', '.join(sources[:20])})"
            f"{_left_out(collection)}; a detector needs both classes. Add the other class, or give --one-class if this "
            f"is meant"
        )
