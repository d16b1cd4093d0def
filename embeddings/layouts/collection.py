"""The list of samples an extraction works on: read from roots by their layouts, checked, and described."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from fewshot.core.errors import InputError, OptionError
from fewshot.core.names import is_kept, require_name, require_value
from fewshot.embeddings.layouts.base import LAYOUTS, Layout, Sample

AUTO = "auto"
_TEXTS = ("path", "member", "source", "split", "dataset", "category", "group")
_UNNAMED = "column without a name, such as the index that pandas writes"


@dataclass(frozen=True)
class Collection:
    """Labelled samples of one or more roots, in a fixed order with unique keys.

    Args:
        roots: absolute paths; layouts: how each is read.
        samples, root: one entry per image, ``root`` being the number of its root.
        keys: unique names; those of a single root are the samples' own.
    """

    roots: tuple[Path, ...]
    layouts: tuple[Layout, ...]
    samples: list[Sample]
    root: list[int]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.samples)

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
            lines += [f"  left out: {count} x {what}" for what, count in sorted(layout.ignored.items())]
        return lines


def collect(
    roots: Sequence[Path | str],
    *,
    layout: str = AUTO,
    limit: int | None = None,
    one_class: bool = False,
) -> Collection:
    """Read the samples of all roots.

    Args:
        layout: a layout's name, or ``auto``.
        limit: at most this many, spread evenly over the list.
        one_class: accept images of one class only.

    Raises:
        InputError: no root or image, an unknown label, one class only, or a name twice.
        UnknownNameError: no such layout.
    """
    if not roots:
        raise InputError("no folder or table of images was given; name at least one")
    paths = tuple(Path(root).expanduser().absolute() for root in roots)
    layouts = tuple(layout_of(path, layout) for path in paths)
    samples: list[Sample] = []
    root_numbers: list[int] = []
    for number, (path, chosen) in enumerate(zip(paths, layouts, strict=True)):
        of_root = list(_checked(path, chosen))
        samples += of_root
        root_numbers += [number] * len(of_root)
    if limit is not None:
        if limit < 1:
            raise OptionError(f"--limit {limit}: give at least 1")
        kept = sorted({index * len(samples) // limit for index in range(min(limit, len(samples)))})
        if limit < len(samples):
            samples, root_numbers = [samples[index] for index in kept], [root_numbers[index] for index in kept]
    collection = Collection(paths, layouts, samples, root_numbers, _keys(paths, samples, root_numbers))
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
    if not sample.source.strip():
        raise InputError(f"{root}: the source of {sample.key!r} is empty; name the generator or the natural collection")
    if not is_kept("".join(texts.values())):
        for name, text in texts.items():
            require_value(text, what=name, where=f"{root}, {sample.path!r}")


def loose_files(paths: Sequence[Path]) -> Collection:
    """Return image files without labels, by their number: what a search is given."""
    samples = [Sample(str(path.absolute()), source="", synthetic=False) for path in paths]
    keys = [str(number) for number in range(len(paths))]
    return Collection((Path(),), (_LooseFiles(),), samples, [0] * len(paths), keys)


@final
class _LooseFiles(Layout):
    """Single files, each at its own path; never recognised, only made by ``loose_files``."""

    name = "files"

    def recognises(self, root: Path) -> bool:
        return False

    def samples(self, root: Path) -> Iterator[Sample]:
        return iter(())


def layout_of(root: Path, name: str) -> Layout:
    """Return the layout called ``name``, or the one that recognises ``root`` with the highest priority."""
    if name != AUTO:
        named: Layout = LAYOUTS.load(name)()
        return named
    if not root.exists():
        raise InputError(f"there is no file or folder {root}; name the folder or table that holds the images")
    known: list[Layout] = [LAYOUTS.load(each)() for each in LAYOUTS.names()]
    fitting = [each for each in known if each.recognises(root)]
    if not fitting:
        raise InputError(
            f"{root} fits none of the layouts {', '.join(LAYOUTS.names())}; choose one with --layout, "
            f"or give a table with the columns path, source, synthetic"
        )
    best = max(each.priority for each in fitting)
    first = [each for each in fitting if each.priority == best]
    if len(first) > 1:
        names = ", ".join(each.name for each in first)
        raise InputError(f"{root} could be any of the layouts {names}; choose one with --layout")
    return first[0]


def require_expected(collection: Collection, *, count: int | None = None, sources: Iterable[str] = ()) -> None:
    """Compare the images found with a published split.

    Raises:
        InputError: another number of images, or other sources.
    """
    if count is not None and len(collection) != count:
        raise InputError(
            f"{count} images were expected and {len(collection)} found in {_named(collection)}; "
            f"complete the data, or correct --expect-count"
        )
    wanted, found = set(sources), {sample.source for sample in collection.samples}
    missing, unexpected = sorted(wanted - found), sorted(found - wanted)
    if wanted and wanted != found:
        raise InputError(
            f"the sources of {_named(collection)} are not the expected ones: missing {missing or 'none'}, "
            f"unexpected {unexpected or 'none'}; complete the data, or correct --expect-sources"
        )


def _named(collection: Collection) -> str:
    return ", ".join(str(root) for root in collection.roots)


def _keys(roots: tuple[Path, ...], samples: list[Sample], root_numbers: list[int]) -> list[str]:
    if len(roots) == 1:
        keys = [sample.key for sample in samples]
    else:
        names = [root.name if root.is_dir() else root.parent.name for root in roots]
        prefix = [f"{name}#{number}" if names.count(name) > 1 else name for number, name in enumerate(names)]
        keys = [f"{prefix[number]}/{sample.key}" for sample, number in zip(samples, root_numbers, strict=True)]
    counts = Counter(keys)
    if len(counts) < len(keys):
        twice = [key for key, count in counts.items() if count > 1]
        raise InputError(
            f"{len(twice)} images are listed more than once, the first is {twice[0]!r}; remove the repeated rows"
        )
    return keys


def _require_both_classes(collection: Collection, *, one_class: bool) -> None:
    classes = {sample.synthetic for sample in collection.samples}
    if not collection.samples:
        raise InputError(f"no image was found in {_named(collection)}; name the folder or table that holds them")
    if len(classes) < 2 and not one_class:
        only = "synthetic" if classes == {True} else "natural"
        sources = sorted({sample.source for sample in collection.samples})
        raise InputError(
            f"all {len(collection)} images of {_named(collection)} are {only} (sources: {', '.join(sources[:20])}); "
            f"a detector needs both classes. Add the other class, or give --one-class if this is meant"
        )
