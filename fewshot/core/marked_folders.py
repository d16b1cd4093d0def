"""Folders that fewshot fills and empties: each carries a mark, and one without it is somebody else's and refused."""

from collections.abc import Callable
from pathlib import Path

from fewshot.core.errors import OutputError
from fewshot.core.files import make_folder, write_text

MARK = "fewshot-folder.txt"


def claim_folder(
    folder: Path, *, purpose: str, option: str = "-o", older: Callable[[Path], bool] = lambda folder: False
) -> Path:
    """Make a folder of ours, or take it where it is ours or empty; return it.

    Args:
        folder: the folder.
        purpose: what lies in it, for the mark and the message, for example ``finished points``.
        option: what the user changes to have it elsewhere.
        older: whether a folder without a mark is one that an earlier version made.

    Raises:
        OutputError: it is there without our mark, or cannot be made.
    """
    make_folder(folder, option=option)
    if is_claimed(folder, purpose=purpose):
        return folder
    if not any(folder.iterdir()) or older(folder):
        write_text(folder / MARK, _text(purpose), option=option)
        return folder
    raise OutputError(
        f"the folder {folder} is needed for {purpose}, and holds something else; nothing in it is touched. Move it "
        f"away, or give another path by {option}"
    )


def is_claimed(folder: Path, *, purpose: str) -> bool:
    """Return whether a folder carries our mark for a purpose."""
    mark, text = folder / MARK, _text(purpose).encode()
    return mark.is_file() and not mark.is_symlink() and mark.stat().st_size == len(text) and mark.read_bytes() == text


def _text(purpose: str) -> str:
    return f"This folder belongs to fewshot, for {purpose}. It may be deleted when no fewshot runs.\n"
