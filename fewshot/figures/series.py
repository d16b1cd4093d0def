"""How the series of a figure are told apart: by colour, and by marker, dash and hatch, so that a grey print tells."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

# Okabe and Ito's palette, told apart by colour-blind readers (Color Universal Design, 2008), darkest first; its yellow
# is darkened, for it is hardly seen on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#B0A000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: tuple[object, ...] = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (8, 2)))
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "ooo", "---")

Name = TypeVar("Name")

MOST = 8  # series of one figure that a reader still tells apart
BEST = 5  # shown first where there are more


@dataclass(frozen=True)
class Look:
    """How one series is drawn: as matplotlib names a colour, a marker, a line style and a hatch."""

    colour: str
    marker: str
    dash: object
    hatch: str


def look(number: int) -> Look:
    """Return the look of the ``number``-th series; the first eight differ in everything, and no two of 64 are alike.

    >>> look(0).colour == look(8).colour, look(0).marker == look(8).marker
    (True, False)
    """
    shape = (number + number // MOST) % MOST
    return Look(COLOURS[number % MOST], _MARKERS[shape], _DASHES[shape], _HATCHES[shape])


def few_at_a_time(names: Sequence[Name]) -> Iterator[tuple[Name, ...]]:
    """Yield the series of one figure after the other: all where they are few, else the first, then the others.

    Args:
        names: the series, the best first.

    >>> [len(part) for part in few_at_a_time([f"net{number}" for number in range(14)])]
    [5, 8, 1]
    """
    if len(names) <= MOST:
        yield tuple(names)
        return
    yield tuple(names[:BEST])
    for start in range(BEST, len(names), MOST):
        yield tuple(names[start : start + MOST])
