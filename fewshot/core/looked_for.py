"""Where a relative path was looked for, for messages about what is not there."""

from pathlib import Path


def looked_for(path: Path | str) -> str:
    """Return in which folder a relative path was looked for, to follow it in a message; empty for an absolute one.

    >>> looked_for("/data/photos")
    ''
    """
    where = _where(path)
    return f" ({where})" if where else ""


def why_unread(path: Path | str, error: OSError) -> str:
    """Return why a file that a user named cannot be read, with the folder where there is none of its name."""
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    return ", ".join(filter(None, [error.strerror or str(error), _where(path) if missing else ""]))


def _where(path: Path | str) -> str:
    return "" if Path(path).is_absolute() else f"looked for in {Path.cwd()}"
