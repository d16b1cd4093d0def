"""Walk folders of images in a fixed order, and read class words from their names."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.embeddings.inputs.images import HEIF_MISSING, HEIF_SUFFIXES, SUFFIXES
from fewshot.embeddings.layouts.base import NATURAL_WORDS, SYNTHETIC_WORDS


def image_files(root: Path, *, ignored: Counter[str]) -> Iterator[str]:
    """Yield every image file below ``root`` as a path relative to it, with forward slashes, in sorted order.

    Links are followed, except one that leads back to a folder it lies in. A file is an image by its suffix in any
    case; every other file is counted in ``ignored``, and so is a link that leads back.

    Raises:
        InputError: ``root`` is not a folder, or a folder below it may not be listed.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; name the folder that holds the images")
    yield from _walk(root, "", ancestors=(), ignored=ignored)


def _walk(
    folder: Path, relative: str, *, ancestors: tuple[tuple[int, int], ...], ignored: Counter[str]
) -> Iterator[str]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:
        ignored[f"link {relative.rstrip('/')} leads back to a folder it lies in"] += 1
        return
    for entry in _entries(folder):
        path = relative + entry.name
        if _is_folder(entry):
            yield from _walk(folder / entry.name, f"{path}/", ancestors=(*ancestors, identity), ignored=ignored)
        elif has_image_suffix(entry.name):
            yield path
        else:
            ignored[why_ignored(entry.name)] += 1


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


def why_ignored(name: str) -> str:
    """Return in words why a file is left out for its suffix, and what reads it where something would."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return (
        f"{suffix}: {HEIF_MISSING}"
        if suffix in HEIF_SUFFIXES
        else f"{suffix or 'no suffix'}: not the suffix of an image"
    )


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


def children(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, sorted; none when it is not a folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
