"""The first figure of a page: what a report ranks, the best five in sight and the others one press away."""

from collections.abc import Iterator

from fewshot.figures.series import BEST
from fewshot.figures.standings import ranked_dots
from fewshot.page.charts import Chart
from fewshot.results.answer import standings
from fewshot.results.report import Report
from fewshot.results.row import PRETRAINED, spread_in_words
from fewshot.results.standing import Standing

MOST_RANKED = 30  # the table holds them all


def ranked_charts(report: Report) -> Iterator[Chart]:
    """Yield the dots of the best five, then those of the others where there are more."""
    ranked = standings(report)[:MOST_RANKED]
    if not ranked:
        return
    caption = _caption(ranked)
    yield Chart(ranked_dots(ranked[:BEST]), caption)
    if len(ranked) > BEST:
        title = f"Ranks {BEST + 1} to {len(ranked)}" if len(ranked) > BEST + 1 else f"Rank {len(ranked)}"
        yield Chart(ranked_dots(ranked[BEST:], first=BEST + 1, title=title), caption, part=f"Show all: {title.lower()}")


def _caption(ranked: tuple[Standing, ...]) -> str:
    rows = [one.row for one in ranked]
    landed = spread_in_words(rows)
    dots = "Dot: one draw" if landed == "one draw" else f"Dot: mean over draws; line: where {landed} landed"
    of = "over other images" if landed == "one draw" else "of the mean"
    ticks = f"; ticks: 95 % interval {of}" if any(one.summary.low == one.summary.low for one in ranked) else ""
    shape = "; diamond: the checkpoint's own head" if any(row.head == PRETRAINED for row in rows) else ""
    guess = "; dotted: guessing" if rows[0].metric == "auroc" else ""
    return f"{dots}{ticks}{shape}{guess}."
