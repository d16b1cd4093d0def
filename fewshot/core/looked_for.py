"""Where a relative path was looked for, for messages about what is not there."""

from pathlib import Path


def looked_for(path: Path | str) -> str:
    """Return in which folder a relative path was looked for, to follow it in a message; empty for an absolute one.

    >>> looked_for("/data/photos")
    ''
    """
    given = Path(path)
    return "" if given.is_absolute() else f" (looked for in {Path.cwd()})"


def why_unread(path: Path | str, error: OSError) -> str:
    """Return why a file that a user named cannot be read, with the folder where there is none of its name."""
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    where = looked_for(path).strip(" ()") if missing else ""
    return ", ".join(filter(None, [error.strerror or str(error), where]))
