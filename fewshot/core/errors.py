"""Every error a user can cause, one class per remedy."""

import difflib
from collections.abc import Iterable

_NEAR = 0.65  # of difflib: two letters swapped in three are 0.67 alike, ``prompt`` and ``root`` 0.60


class FewshotError(Exception):
    """One plain sentence: what was wanted, what was found, what to do next. The command line exits with status 1."""


class InputError(FewshotError):
    """Images, folders, tables or labels are not as they must be; remedy: correct the data."""


class OptionError(FewshotError):
    """An option's value cannot be used, alone or beside another; remedy: change the option."""


class UnknownNameError(OptionError):
    """A name is not among the known ones; remedy: choose one from the list in the message."""


class WeightsError(FewshotError):
    """A weight file is missing, damaged or of another network; remedy: fetch it or name the right one."""


class StoreError(FewshotError):
    """A feature store or index is missing, unsealed, damaged or produced differently; remedy: finish or rebuild it."""


class EpisodeError(FewshotError):
    """A few-shot episode cannot be drawn as requested; remedy: fewer shots or more images."""


class OutputError(FewshotError):
    """A result cannot be written; remedy: another path, more room, or the right to write."""


class DeviceError(FewshotError):
    """The device or precision asked for is not there; remedy: another --device or --precision."""


class ReportError(FewshotError):
    """A report file is damaged, of another version, or does not fit the one beside it."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for an unknown name, with the nearest known one where one is near, and the full list.

    >>> str(unknown_name("head", "swm", ["svm", "knn"]))
    "there is no head 'swm'; did you mean 'svm'? Known: knn, svm"
    """
    names = sorted(known)
    near = nearest_name(name, names)
    hint = "." if near is None else f"; did you mean {near!r}?"
    listed = ", ".join(names) if names else "none is installed"
    return UnknownNameError(f"there is no {kind} {name!r}{hint} Known: {listed}")


def nearest_name(name: str, known: Iterable[str], *, alike: float = _NEAR) -> str | None:
    """Return the known name that a mistyped one is near to, None where none is: a far guess helps nobody.

    Args:
        alike: least likeness of the two, of difflib: 1 for the same letters in the same order.

    >>> nearest_name("Fakes", ["fake", "real"]), nearest_name("prompt", ["root", "group"])
    ('fake', None)
    """
    plain = {each.casefold().replace("_", "-"): each for each in known}
    near = difflib.get_close_matches(name.casefold().replace("_", "-"), plain, n=1, cutoff=alike)
    return plain[near[0]] if near else None
