"""Sentences and names within so many columns of a terminal."""

import re
import textwrap
from collections.abc import Collection, Sequence

from fewshot.core.control_characters import escape_control

WIDTH = 100  # columns that no default table or sentence is wider than
_GAP = 2  # blanks between columns
_SHORTEST = 12  # characters of a name that is made shorter
_LABEL = re.compile(r"(\S.{,24}?)? {2,}(?=\S)")
_MARK = "..."  # ASCII, for it is as wide on every terminal


def wrapped(text: str, *, width: int = WIDTH, indent: str = "") -> list[str]:
    """Return a text as lines of at most ``width`` columns; words are never split, so that a path may stand out.

    Args:
        indent: before every line but the first.
    """
    shown = escape_control(text)
    lines = textwrap.wrap(
        shown, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, tabsize=1
    )
    return lines or [""]


def labelled(line: str, *, width: int = WIDTH) -> list[str]:
    """Return a line that begins with a label, or with the blanks under one, as lines of at most ``width`` columns.

    >>> print(chr(10).join(labelled("natural    below 0.1: no guarantee for misses", width=32)))
    natural    below 0.1: no
               guarantee for misses
    """
    label = _LABEL.match(line)
    return wrapped(line, width=width, indent=" " * len(label.group()) if label else "  ")


def narrowed(
    header: Sequence[str], lines: Sequence[Sequence[str]], *, names: Collection[int], width: int = WIDTH
) -> list[list[str]]:
    """Return the cells of a table with names shortened in the middle, the longest first, until it fits.

    Args:
        lines: cells, as many a line as ``header`` has.
        names: numbers of the columns that may be shortened.
        width: columns of the whole table.
    """
    cells = [[escape_control(cell) for cell in line] for line in lines]
    columns = [list(column) for column in zip(*cells, strict=True)]
    widths = [max(map(len, (title, *column))) for title, column in zip(header, columns, strict=True)]
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    while excess > 0 and (widest := max(names, key=lambda number: widths[number], default=None)) is not None:
        least = max(_SHORTEST, len(header[widest]))
        if widths[widest] <= least:
            break
        widths[widest] -= 1
        excess -= 1
    shown = [shortened(column, widths[number]) if number in names else column for number, column in enumerate(columns)]
    return [list(line) for line in zip(*shown, strict=True)] if cells else []


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Return names of at most ``width`` characters, cut so that different ones stay different where they can.

    >>> shortened(["torchvision:mobilenet_v2", "npr"], 16)
    ['torchvi...net_v2', 'npr']
    """
    different = set(names)
    for heads in (0.5, 0.3, 0.7, 0.0, 1.0):
        cut = {name: _cut(name, width, heads) for name in different}
        if len(set(cut.values())) == len(different):
            break
    else:
        cut = {name: _cut(name, width, 0.5) for name in different}
    return [cut[name] for name in names]


def _cut(name: str, width: int, heads: float) -> str:
    if len(name) <= width:
        return name
    room = width - len(_MARK)
    first = round(heads * room + 0.01)
    return name[:first] + _MARK + (name[len(name) - (room - first) :] if room > first else "")
