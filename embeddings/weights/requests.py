"""What ``--weights`` asks for: a file or random weights for a named backbone, or folders to look in for all of them."""

from collections.abc import Iterable
from pathlib import Path

from fewshot.core.errors import OptionError


def named(requests: Iterable[str]) -> list[tuple[str, str]]:
    """Return (NAME, VALUE) of every ``NAME=VALUE``, without the folders.

    Raises:
        OptionError: a request of another form, or a folder that is not there.
    """
    return [_split(request) for request in requests if not _is_folder(request)]


def folders(requests: Iterable[str]) -> tuple[Path, ...]:
    """Return the folders of weight files among some requests, in the order they were given."""
    return tuple(Path(request).expanduser() for request in requests if _is_folder(request))


def files(requests: Iterable[str]) -> list[Path]:
    """Return what stands behind every ``NAME=``: files that a run reads, over which nothing may be written.

    Raises:
        OptionError: as ``named``.
    """
    return [Path(value).expanduser() for _, value in named(requests)]


def value_of(requests: Iterable[str], name: str) -> str | None:
    """Return what ``NAME=VALUE`` says of a name, None when no request is of it."""
    return next((value for left, value in named(requests) if left == name), None)


def _is_folder(request: str) -> bool:
    """Whether a request is a folder that is there; its path may hold an equals sign, as ``run=3/weights``."""
    try:
        return bool(request) and Path(request).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # a path that the system does not take, or ~NAME of nobody
        return False


def _split(request: str) -> tuple[str, str]:
    name, equals, value = request.partition("=")
    if not (name and equals and value):
        raise OptionError(
            f"--weights takes NAME=PATH, NAME.PART=PATH, NAME=random or a folder that is there, and got {request!r}; "
            f"for example --weights npr=/weights/NPR.pth or --weights /weights"
        )
    return name, value
