"""What a report ranks, as dots with ranges: the best first, each below its name."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot.core.errors import ReportError
from fewshot.figures.canvas import drawn, share_limits
from fewshot.figures.series import COLOURS
from fewshot.results.answer import measure_title
from fewshot.results.members import backbone_title
from fewshot.results.row import PRETRAINED
from fewshot.results.standing import Standing

_FITTED, _PRETRAINED = COLOURS[0], COLOURS[1]
_ROOM = 54  # characters of a name at full size
_LINE_INCHES, _AXIS_INCHES, _TITLE_INCHES = 0.38, 0.55, 0.3


def ranked_dots(standings: Sequence[Standing], *, first: int = 1, title: str = "") -> Figure:
    """Draw one line per standing: a dot at its mean, a line where draws landed, ticks at its 95 % interval.

    A head that came with its checkpoint is a diamond, a fitted one a circle.

    Args:
        standings: the best first.
        first: the rank of the first of them.

    Raises:
        ReportError: there is none.
    """
    if not standings:
        raise ReportError("there is nothing to rank; run the protocol again with -o")
    measure = measure_title(standings[0].row.metric)
    figure, (axes,) = drawn(4.8, _AXIS_INCHES + _TITLE_INCHES + _LINE_INCHES * len(standings))
    for place, standing in enumerate(standings):
        _draw_line(axes, place, standing)
        _write_name(axes, place, f"{first + place}. {standing_name(standing)}")
    axes.set_ylim(len(standings) - 0.45, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _set_reach(axes, standings)
    axes.set_xlabel(measure)
    axes.set_title(title or f"{measure} of all images, the best first", loc="left", fontsize=10)
    return figure


def standing_name(standing: Standing) -> str:
    """Return backbone, head and how much it was shown; layer and view where they are not the usual ones.

    >>> from fewshot.results.row import Row
    >>> from fewshot.stats.intervals import summarise
    >>> row = Row("npr", "pooled", "fixed", "svm", "toy", "all", "auroc", 20, 80, (0.5, 0.7), shots=10, view="jpeg:50")
    >>> standing_name(Standing(row, summarise(row.values)))
    'npr + svm, 10 shots, jpeg:50'
    """
    row = standing.row
    chosen = "" if row.selection == "fixed" or row.members else f"layer by {row.selection}"
    view = "" if row.view == "clean" else row.view
    return ", ".join(part for part in (f"{backbone_title(row)} + {row.head}", standing.size, chosen, view) if part)


def _write_name(axes: Axes, place: int, name: str) -> None:
    """Write a name on one line, smaller where it is long."""
    size = max(5.5, min(9.0, 9.0 * _ROOM / len(name)))
    axes.text(0, place - 0.26, name, transform=axes.get_yaxis_transform(), va="center", fontsize=size)


def _draw_line(axes: Axes, place: int, standing: Standing) -> None:
    row, summary = standing.row, standing.summary
    pretrained = row.head == PRETRAINED
    colour, y = _PRETRAINED if pretrained else _FITTED, place + 0.12
    axes.plot(row.spread, (y, y), color=colour, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
    axes.plot((summary.low, summary.high), (y, y), "|", color=colour, markersize=9, markeredgewidth=1.4)
    axes.plot([summary.mean], [y], "D" if pretrained else "o", color=colour, markersize=6.5)
    axes.text(
        1,
        place - 0.26,
        f"{summary.mean:.2f}",
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="center",
        weight="bold",
    )


def _set_reach(axes: Axes, standings: Sequence[Standing]) -> None:
    """Let the axis of shares end at 1, and mark what guessing reaches; other measures take what they need."""
    ends = [end for one in standings for end in (*one.row.spread, one.summary.mean)]
    if all(0 <= end <= 1 for end in ends if end == end):
        axes.set_xlim(*share_limits(ends))
    if standings[0].row.metric == "auroc":
        axes.axvline(0.5, color="#777777", linewidth=0.8, linestyle=":")
