"""Support files: which images a user, or an earlier report, took as support."""

from pathlib import Path

import msgspec

from fewshot.core.errors import InputError
from fewshot.core.looked_for import why_unread
from fewshot.core.regular_files import read_regular
from fewshot.results.report import Report

MOST_BYTES = 1 << 30


def read_supports(path: Path) -> list[list[str]]:
    """Read a support file: a report, JSON lists of keys, or a text file with one key a line (one trial).

    Raises:
        InputError: no such file, not a regular one, empty, or of another form.
        ReportError: a report that is damaged.
    """
    try:
        content = read_regular(path, limit=MOST_BYTES)
        lists = _of_json(content) if path.suffix == ".json" else _of_lines(content)
    except OSError as error:
        raise InputError(
            f"the support file {path} cannot be read ({why_unread(path, error)}); give a file that exists"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the support file {path} holds no lists of sample keys ({error}); give a report, or JSON lists of keys"
        ) from error
    if not lists or not all(lists):
        raise InputError(f"the support file {path} lists no image; write one sample key a line, or JSON lists of keys")
    return lists


def _of_json(content: bytes) -> list[list[str]]:
    document = msgspec.json.decode(content)
    if isinstance(document, dict):
        if {"schema", "rows"} <= set(document):
            document = dict(Report.from_json(document).supports)
        return list(msgspec.convert(document.get("supports", document), dict[str, list[str]]).values())
    if isinstance(document, list) and document and isinstance(document[0], str):
        return [msgspec.convert(document, list[str])]
    return msgspec.convert(document, list[list[str]])


def _of_lines(content: bytes) -> list[list[str]]:
    lines = content.decode("utf-8").splitlines()
    return [[line.strip() for line in lines if line.strip()]]
