"""The first section of a page that knows the store: what could fool a reader of every number below."""

from html import escape

from fewshot.audit import Audit


def audit_section(audit: Audit) -> str:
    """Return the audit as HTML: warnings, what file facts alone tell, duplicates that cross borders."""
    classes = f"{audit.images} images: {audit.natural} natural, {audit.synthetic} synthetic."
    return (
        f"<section><h2>What could mislead</h2><p>{classes}</p>{warning_list(audit.warnings)}"
        f"{_facts(audit)}{_leaks(audit)}</section>"
    )


def warning_list(warnings: tuple[str, ...]) -> str:
    """Return warnings as the box that stands above everything else, or the sentence that there is none."""
    if not warnings:
        return '<p class="soft">No warning was raised. That is no proof that nothing misleads.</p>'
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<div class="warnings" role="note"><strong>Read this first</strong><ul>{items}</ul></div>'


def _facts(audit: Audit) -> str:
    rows = [
        [one.source, ", ".join(one.facts), f"{one.auroc:.3f}", f"{one.low:.3f}-{one.high:.3f}"]
        for one in audit.confounds
    ]
    if not rows:
        return ""
    return "<h3>What file facts alone tell (0.5 = nothing)</h3>" + _table(
        ["against natural", "facts", "AUROC", "95 % interval"], rows
    )


def _leaks(audit: Audit) -> str:
    rows = [
        [one.likeness, *(str(count) for count in (one.pairs, one.classes, one.sources, one.splits, one.groups))]
        for one in audit.leaks
    ]
    if not rows:
        return ""
    return "<h3>Duplicates, and the borders that they cross</h3>" + _table(
        ["likeness", "pairs", "classes", "sources", "splits", "not of one group"], rows
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col"><button type="button">{escape(one)}</button></th>' for one in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    table = f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'
