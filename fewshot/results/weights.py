"""How much a head over several backbones takes of each: the mean over the draws, in a line."""

from collections.abc import Iterator, Sequence

import numpy as np

from fewshot.results.members import backbone_title, member_title
from fewshot.results.row import WEIGHT, Row
from fewshot.results.standing import Measured, short_names, size_in_words

MOST_LINES = 4  # of the heads and sets of a report; the rows hold all
_LEAST = 0.005  # what is less is 0.00 in print


def weight_lines(report: Measured) -> tuple[str, ...]:
    """Return a line for every fused head with the mean weights, the largest first, at its largest support."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted((row for row in report.rows if row.metric == WEIGHT), key=lambda row: row.shots or 0):
        of_head = found.setdefault((row.backbone, row.layer, row.head, row.dataset), [])
        if of_head and of_head[0].shots != row.shots:
            of_head.clear()
        of_head.append(row)
    several = {"head": len({key[2] for key in found}) > 1, "dataset": len({key[3] for key in found}) > 1}
    lines = [_line(rows, several["head"], several["dataset"]) for rows in found.values()]
    more = [f"and {len(lines) - MOST_LINES} more fused heads: --full shows them"] if len(lines) > MOST_LINES else []
    return (*lines[:MOST_LINES], *more)


def _line(rows: Sequence[Row], heads: bool, datasets: bool) -> str:
    first = rows[0]
    short = short_names(rows)
    named = backbone_title(first, short) + (f" + {first.head}" if heads else "")
    on = f" on {first.dataset}" if datasets else ""
    draws = len(first.values)
    over = f", mean of {draws} draws" if draws > 1 else ""
    return f"weights of {named}{on}, {size_in_words(first)}{over}: {', '.join(_shares(rows, short))}"


def _shares(rows: Sequence[Row], short: dict[str, str]) -> Iterator[str]:
    means = [(float(np.nanmean(row.values)), row) for row in rows]
    means.sort(key=lambda pair: -pair[0])
    for mean, row in means:
        if mean >= _LEAST:
            yield f"{member_title(row.source, row.members, short)} {mean:.2f}"
    if dead := [row for mean, row in means if mean < _LEAST]:
        names = ", ".join(member_title(row.source, row.members, short) for row in dead)
        yield f"{names} 0.00" if len(dead) == 1 else f"0.00 each {names}"
