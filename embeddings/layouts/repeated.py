"""Images that a list names twice, also by another spelling of the same path, are refused."""

from collections.abc import Sequence
from pathlib import Path
from posixpath import normpath

from fewshot.core.errors import InputError
from fewshot.embeddings.layouts.base import Sample


def require_once(roots: Sequence[Path], samples: Sequence[Sample], root_numbers: Sequence[int]) -> None:
    """Refuse samples that are the same file or member.

    Args:
        roots: absolute; samples, root_numbers: one entry per image.

    Raises:
        InputError: one is listed twice; the message says so when its two labels or sources differ.
    """
    seen: dict[tuple[str, str], Sample] = {}
    twice: list[tuple[Sample, Sample]] = []
    folders = [str(root if root.is_dir() else root.parent) for root in roots]
    for sample, number in zip(samples, root_numbers, strict=True):
        first = seen.setdefault((_spelled(sample.path, folders[number]), sample.member), sample)
        if first is not sample:
            twice.append((first, sample))
    if not twice:
        return
    unlike = next((pair for pair in twice if _label(pair[0]) != _label(pair[1])), None)
    differing = ""
    if unlike:
        first, again = unlike
        differing = f" {first.key!r} is {_label(first)} in one row and {_label(again)} in another: say which is right."
    raise InputError(
        f"{len(twice)} images are listed more than once, the first is {twice[0][1].key!r};{differing} remove the "
        f"repeated rows"
    )


def _spelled(path: str, folder: str) -> str:
    """Return the path of a file as one of its spellings: absolute, without ``.``, ``..`` and repeated slashes."""
    return normpath(f"{folder}/{path}" if not path.startswith("/") else path)


def _label(sample: Sample) -> str:
    return f"{sample.source} ({'synthetic' if sample.synthetic else 'natural'})"
