"""The paper that figures are drawn on: one look, and the ways out as SVG text or a PNG file."""

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from fewshot.core.control_characters import escape_control, escape_lines
from fewshot.core.errors import OptionError
from fewshot.core.files import atomic_write, make_folder
from fewshot.core.outputs import FIGURES, PNG
from fewshot.figures.svg import lightened

_LONGEST_TICK, _LONGEST_LINE = 40, 120  # characters
_LOOK: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "fewshot",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}


def drawn(width: float, height: float, *, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Figure, list[Any]]:
    """Return a new figure of ``width`` x ``height`` inches and its axes, row by row.

    No pyplot: nothing global is kept, and threads do not meet.
    """
    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def to_svg(figure: Figure, *, label: str) -> str:
    """Return the figure as one ``<svg>`` element with real text, fit to stand inside a page.

    Args:
        figure: what to write.
        label: what the figure shows, for readers who do not see it.
    """
    from html import escape

    _make_printable(figure)
    buffer = io.StringIO()
    with _drawing():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    return lightened(text[text.index("<svg") :]).replace(
        "<svg ", f'<svg role="img" aria-label="{escape(escape_control(label))}" ', 1
    )


def save_png(figure: Figure, path: Path | str, *, dots_per_inch: int = 150, option: str = "-o") -> Path:
    """Write the figure as a PNG.

    Args:
        figure, path: what and where.
        option: which option named the path, for the message.

    Raises:
        OutputError: the file cannot be written.
    """
    _make_printable(figure)
    with atomic_write(path, option=option, kind=PNG) as stream, _drawing():
        figure.savefig(stream, format="png", dpi=dots_per_inch, metadata=_METADATA["png"])
    return Path(path)


def save_figure(figure: Figure, path: Path | str, *, dots_per_inch: int = 200) -> Path:
    """Write the figure as its suffix says: .png, .svg or .pdf, the same bytes every time.

    Raises:
        OptionError: another suffix.
        OutputError: the file cannot be written.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise OptionError(f"a figure cannot be written as {path}; end its name in {', '.join(_METADATA)}")
    _make_printable(figure)
    make_folder(Path(path).parent)
    with atomic_write(path, option="--figures", kind=FIGURES[kind]) as stream, _drawing():
        figure.savefig(stream, format=kind, dpi=dots_per_inch, metadata=_METADATA[kind])
    return Path(path)


@contextmanager
def _drawing() -> Iterator[None]:
    """Draw in our look; a letter that the font lacks is a box in a PNG and itself in an SVG, and nothing to warn of."""
    with matplotlib.rc_context(_LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        yield


def _make_printable(figure: Figure) -> None:
    """Escape what cannot be drawn or stand in XML in every text of a figure, and read no text as a formula."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FuncFormatter):  # what names of ticks become
                axis.set_major_formatter(FuncFormatter(_printable(formatter)))
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(_drawable(text.get_text(), _LONGEST_LINE))


def _printable(formatter: FuncFormatter) -> Callable[[float, int | None], str]:
    return lambda value, position: _drawable(formatter(value, position), _LONGEST_TICK)


def _drawable(text: str, longest: int) -> str:
    """Return printable lines of at most so many characters each: a figure has no room for more."""
    lines = escape_lines(text).split("\n")
    return "\n".join(line if len(line) <= longest else f"{line[: longest - 1]}…" for line in lines)


# No dates, so that the same figure has the same bytes; our name, by which a later run knows that it may write over it.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "fewshot"},
    "svg": {"Date": None, "Creator": None, "Title": "fewshot"},
    "pdf": {"CreationDate": None, "Creator": "fewshot", "Producer": None},
}


def share_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return axis limits for shares such as AUROC: up to 1, down to a round tenth below all, at most 0.4.

    >>> share_limits([0.93, 0.99]), share_limits([0.31, float("nan")])
    ((0.4, 1.01), (0.3, 1.01))
    """
    known = [value for value in values if not math.isnan(value)]
    lowest = min(known, default=0.4)
    return max(0.0, min(0.4, math.floor(lowest * 10) / 10)), 1.01
