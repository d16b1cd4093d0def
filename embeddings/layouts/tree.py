"""Walk folders of images in a fixed order, and read class words from their names."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.embeddings.inputs.images import HEIF_MISSING, HEIF_SUFFIXES, SUFFIXES
from fewshot.embeddings.layouts.labels import NATURAL_WORDS, SYNTHETIC_WORDS, meant_word
from fewshot.embeddings.layouts.splits import is_split
from fewshot.embeddings.layouts.system_files import system_file, system_folder, system_path

_MAX_DEPTH = 100  # folders inside each other; a path of Linux has room for more, but no data set does
_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_ARCHIVES = (".zip", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst")


def image_files(root: Path, *, ignored: Counter[str]) -> Iterator[str]:
    """Yield every image file below ``root`` as a path relative to it, with forward slashes, in sorted order.

    Links are followed, except one that leads back to a folder it lies in. A file is an image by its suffix in any
    case; every other file is counted in ``ignored``, and so are a link that leads back and what operating systems
    leave behind.

    Raises:
        InputError: ``root`` is not a folder, or a folder below it may not be listed.
    """
    return files_below(root, wanted=has_image_suffix, ignored=ignored)


def files_below(root: Path, *, wanted: Callable[[str], bool], ignored: Counter[str]) -> Iterator[str]:
    """Yield every file below ``root`` whose name is ``wanted``, as ``image_files`` does.

    Raises:
        InputError: ``root`` is not a folder, or a folder below it may not be listed.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; name the folder that holds the images")
    yield from _Walk(wanted, ignored).below(root, "", ancestors=())


@dataclass(frozen=True)
class _Walk:
    wanted: Callable[[str], bool]
    ignored: Counter[str]

    def below(self, folder: Path, relative: str, *, ancestors: tuple[tuple[int, int], ...]) -> Iterator[str]:
        if len(ancestors) > _MAX_DEPTH:
            raise InputError(f"{folder} lies more than {_MAX_DEPTH} folders deep; name a folder nearer to the images")
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in ancestors:
            self.ignored[f"link {relative.rstrip('/')} leads back to a folder it lies in"] += 1
            return
        for entry in _entries(folder):
            path, folder_below = relative + entry.name, _is_folder(entry)
            if (system_folder if folder_below else system_file)(entry.name):
                self.ignored[system_path(f"{entry.name}/x" if folder_below else entry.name)] += 1
            elif folder_below:
                yield from self.below(folder / entry.name, f"{path}/", ancestors=(*ancestors, identity))
            elif self.wanted(entry.name):
                yield path
            else:
                self.ignored[_not_read(entry.name)] += 1


def count_beside(root: Path, read: Iterable[str], *, ignored: Counter[str]) -> None:
    """Count in ``ignored`` what lies in a folder beside the archives that are read."""
    known = set(read)
    for entry in _entries(root):
        if entry.name in known:
            continue
        if _is_folder(entry):
            told = system_path(f"{entry.name}/x") or "folder beside the archives, which alone are read"
        else:
            told = system_path(entry.name) or _not_read(entry.name)
        ignored[told] += 1


def _not_read(name: str) -> str:
    if has_image_suffix(name):  # the layout reads archives
        return f"{Path(name).suffix.lower()}: an image beside the archives, which alone are read"
    return not_an_image(name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be listed ({error.strerror}); allow reading it or leave it out"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle; reading it fails with the reason
        return False


def has_image_suffix(name: str) -> bool:
    """Return whether the last suffix is an image's, in any case: ``a.b.PNG`` is one."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def not_an_image(name: str) -> str:
    """Return what is counted of a file that is not read as an image, with the remedy where there is one.

    >>> not_an_image("a.TXT"), not_an_image("train.tar.gz")
    ('.txt: not the suffix of an image', '.tar.gz: gunzip it; a .tar is read as it is')
    """
    suffix = os.path.splitext(name)[1].lower() or "no suffix"  # noqa: PTH122
    if suffix in HEIF_SUFFIXES:
        return f"{suffix}: {HEIF_MISSING}"
    return archive_remedy(name) or f"{suffix}: not the suffix of an image"


def archive_remedy(name: str) -> str:
    """Return what to do with an archive that is not looked into, empty when the name is not an archive's."""
    small = name.lower()
    tar = next((suffix for suffix in _COMPRESSED_TARS if small.endswith(suffix)), "")
    if tar:
        tool = "gunzip" if tar.endswith("gz") else "decompress"
        return f"{tar}: {tool} it; a .tar is read as it is"
    if small.endswith(".tar"):
        return ".tar: a shard among folders; name it, or the folder that holds the shards, as a ROOT of its own"
    other = next((suffix for suffix in _ARCHIVES if small.endswith(suffix)), "")
    return f"{other}: unpack it" if other else ""


def class_level(parents: Iterable[str]) -> tuple[int, bool] | None:
    """Return (level, synthetic) of the deepest class word among folder names, None when there is none.

    >>> class_level(["data", "1_FAKE", "sd15"])
    (1, True)
    """
    found = None
    for level, name in enumerate(parents):
        word = name.lower()
        if word in NATURAL_WORDS or word in SYNTHETIC_WORDS:
            found = (level, word in SYNTHETIC_WORDS)
    return found


def class_words() -> str:
    """Return the known class words for a message."""
    return f"natural: {', '.join(sorted(NATURAL_WORDS))}; synthetic: {', '.join(sorted(SYNTHETIC_WORDS))}"


def meant_class_word(names: Iterable[str]) -> str:
    """Return the class word that one of some folder names is near to, as a question; empty where none is.

    >>> meant_class_word(["data", "fakes"]), meant_class_word(["holiday"])
    ("; did you mean 'fake' by 'fakes'?", '')
    """
    for name in names:
        if (word := meant_word(name)) is not None:
            return f"; did you mean {word!r} by {name!r}?"
    return ""


def children(folder: Path) -> list[Path]:
    """Return the folders in ``folder`` that may hold data, sorted; none when it is not a folder that can be listed."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not system_folder(path.name))
    except OSError:
        return []


def split_folders(folder: Path) -> list[Path]:
    """Return the folders in ``folder`` that are named by a split, in any case, sorted."""
    return [child for child in children(folder) if is_split(child.name)]


def left_out(ignored: Counter[str]) -> str:
    """Return what was left out, for the end of a message; empty when nothing was.

    >>> left_out(Counter({".txt: not the suffix of an image": 2}))
    ' (left out: 2 x .txt: not the suffix of an image)'
    """
    told = "; ".join(f"{count} x {what}" for what, count in sorted(ignored.items()) if count)
    return f" (left out: {told})" if told else ""
