"""Support files: which images a user, or an earlier report, took as support."""

import json
from collections.abc import Mapping
from pathlib import Path

from fewshot.core.errors import InputError


def read_supports(path: Path) -> list[list[str]]:
    """Read a support file: a report, JSON lists of keys, or a text file with one key a line (one trial).

    Raises:
        InputError: no such file, or empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"the support file {path} cannot be read ({error}); give a file that exists") from error
    if path.suffix == ".json":
        try:
            lists = _lists(json.loads(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"the support file {path} holds no lists of sample keys ({error}); give a report, or JSON lists of keys"
            ) from error
    else:
        lists = [[line.strip() for line in text.splitlines() if line.strip()]]
    if not lists or not all(lists):
        raise InputError(f"the support file {path} lists no image; write one sample key a line, or JSON lists of keys")
    return lists


def _lists(document: object) -> list[list[str]]:
    if isinstance(document, Mapping):
        inner = document.get("supports", document)
        return [[str(key) for key in listed] for listed in inner.values()]
    if isinstance(document, list) and document and isinstance(document[0], str):
        return [[str(key) for key in document]]
    return [[str(key) for key in listed] for listed in document] if isinstance(document, list) else []
