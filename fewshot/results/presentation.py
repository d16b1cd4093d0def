"""A report as ``print`` and notebooks show it: its answer, its ranking and its warnings."""

from html import escape

from fewshot.core.control_characters import escape_control
from fewshot.results.answer import answer
from fewshot.results.paragraph import WIDTH, wrapped
from fewshot.results.ranked_table import RankedTable, ranked_table
from fewshot.results.standing import Measured

_INDENT = "  "


def as_text(report: Measured, body: str, *, width: int = WIDTH) -> str:
    """Return the answer, a table, and the warnings, in lines of at most ``width`` columns.

    Args:
        body: the table.
    """
    warnings = [line for one in report.warnings for line in warning_lines(one, width=width)]
    parts = ["\n".join(wrapped(answer(report), width=width)), body, "\n".join(warnings)]
    return "\n\n".join(part for part in parts if part)


def warning_lines(warning: str, *, width: int = WIDTH) -> list[str]:
    """Return a warning as lines of at most ``width`` columns."""
    return wrapped(f"warning: {warning}", width=width, indent=_INDENT)


def ranked_text(table: RankedTable, *, width: int = WIDTH, more: str) -> str:
    """Return a ranking as text, with how many standings it leaves out and what stands below it.

    Args:
        more: what shows them.
    """
    left_out = [f"and {table.left_out} more: {more} shows them"] if table.left_out else []
    notes = [line for note in table.notes for line in ["", *wrapped(note, width=width, indent=_INDENT)]]
    return "\n".join([table.text(width=width), *left_out, *notes])


def as_html(report: Measured) -> str:
    """Return the same as HTML: the answer, the ranking's columns with the best line bold, and the warnings.

    Names and warnings are of others: none of their characters is markup.
    """
    table = ranked_table(report)
    head = "".join(f"<th>{_inert(title)}</th>" for title in table.header)
    lines = "".join(_line(cells, best=number == 0) for number, cells in enumerate(table.lines))
    left_out = f"<p>and {table.left_out} more: table(full=True) shows them</p>" if table.left_out else ""
    warnings = "".join(f"<li>warning: {_inert(warning)}</li>" for warning in report.warnings)
    notes = "".join(f"<p>{_inert(note)}</p>" for note in table.notes)
    return (
        f"<p><strong>{_inert(answer(report))}</strong></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{left_out}{notes}"
        f"{f'<ul>{warnings}</ul>' if warnings else ''}"
    )


def _line(cells: tuple[str, ...], *, best: bool) -> str:
    mark = "strong" if best else "span"
    return "<tr>" + "".join(f"<td><{mark}>{_inert(cell)}</{mark}></td>" for cell in cells) + "</tr>"


def _inert(text: str) -> str:
    return escape(escape_control(text))
