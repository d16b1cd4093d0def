"""The marker that says that a folder of unfinished work is ours; any other folder of its name is left alone."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from fewshot.core.errors import OutputError
from fewshot.core.files import atomic_folder, output_error, write_text
from fewshot.core.regular_files import read_regular

MARKER = "fewshot-parts.json"
_CONTENT = json.dumps({"format": "fewshot-parts", "version": 1}) + "\n"
_SHARD = r"(-\d+-of-\d+)?"
_OWN_NAME = re.compile(
    rf"(ledger{_SHARD}\.json|lock{_SHARD}|seal|samples\.jsonl|[0-9a-f]{{24}}\.h5|{re.escape(MARKER)})"
    r"(\.[0-9a-f]{16}\.tmp|\.tmp)?"  # what a killed write left, of this version or an earlier one
)


def make_parts_folder(folder: Path, store: Path) -> None:
    """Make the parts folder with its marker, unless it is there; take over one of an earlier version, which has none.

    Args:
        folder: the parts folder; store: the store it belongs to, for messages.

    Raises:
        OutputError: it cannot be made, or something else lies at its path.
    """
    if not os.path.lexists(folder):
        try:
            with atomic_folder(folder) as new:
                (new / MARKER).write_text(_CONTENT)
        except OutputError as error:
            if not os.path.lexists(folder):  # another shard may have made it meanwhile
                raise output_error(store, _cause(error)) from error
    why = _foreign(folder)
    if why:
        raise OutputError(
            f"{folder} is where unfinished work would go, and it was not made by fewshot ({why}); nothing in it was "
            f"touched. Move it away, or give another -o"
        )
    if not (folder / MARKER).exists():
        write_text(folder / MARKER, _CONTENT)


def is_own(folder: Path) -> bool:
    """Return whether a folder is there and was made by fewshot; nothing is changed."""
    return os.path.lexists(folder) and not _foreign(folder)


def remove_own_files(folder: Path) -> None:
    """Remove our files, then the folder; where files of others lie in it, they stay, and so does the marker."""
    names = [path.name for path in folder.iterdir()]
    foreign = [name for name in names if not _OWN_NAME.fullmatch(name)]
    for name in sorted(names, key=lambda name: name == MARKER):  # the marker last
        if name not in foreign and not (foreign and name == MARKER):
            with suppress(OSError):
                (folder / name).unlink()
    if not foreign:
        with suppress(OSError):
            folder.rmdir()


def _foreign(folder: Path) -> str:
    """Return why a folder is not ours, nothing where it is."""
    if folder.is_symlink() or not folder.is_dir():
        return "it is no folder"
    try:
        ours = read_regular(folder / MARKER, limit=1 << 10).decode("ascii", "replace") == _CONTENT
        return "" if ours else f"its {MARKER} is damaged, or of another version"
    except FileNotFoundError:
        return _foreign_before_markers(folder)
    except OSError as error:
        return f"its {MARKER} cannot be read: {error.strerror}"


def _foreign_before_markers(folder: Path) -> str:
    """Return the same for a folder without marker: an unfinished run that began before there were any has our files."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or not _OWN_NAME.fullmatch(path.name):
            return f"it holds {path.name!r}"
    return "" if (folder / "lock").is_file() else "it does not hold what a run leaves"


def _cause(error: OutputError) -> OSError:
    return error.__cause__ if isinstance(error.__cause__, OSError) else OSError(str(error))
