"""Comparisons as a sentence, a table and what a reader of the intervals must know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fewshot.results.comparison import Comparison, mean_of
from fewshot.results.pairing import told_apart
from fewshot.results.paragraph import WIDTH, narrowed
from fewshot.results.row import PRETRAINED, Row
from fewshot.results.standing import Names, share, size_in_words
from fewshot.results.tables import text_table
from fewshot.stats.intervals import ENOUGH_DRAWS

NEAR_ONE = 0.9  # the simulation of docs/experiments/coverage.md found 93 to 97 % for two-way differences below


def comparison_sentence(comparisons: Sequence[Comparison]) -> str:
    """Return what the two best say: which is better, by how much, or that they cannot be told apart."""
    one = max(comparisons, key=lambda one: sorted((mean_of(row) for row in one.rows), reverse=True))
    result, names = one.result, Names.of([row for each in comparisons for row in each.rows])
    first, second = (_called(names, row) for row in one.rows)
    if first == second:
        first, second = f"{first} of the first report", f"{first} of the second"
    better, worse = (first, second) if result.difference >= 0 else (second, first)
    size = size_in_words(one.shown)
    at, over = f"At {size} " if size else "", _over(one)
    if _enough(one) and told_apart(result, p=one.p_holm):
        low, high = sorted((abs(result.low), abs(result.high)))
        return f"{at}{better} is better than {worse} by {abs(result.difference):.2f} ({low:.2f} to {high:.2f}), {over}"
    between = f"{at}{better} and {worse} cannot be told apart: {abs(result.difference):.3f} between them"
    if not _enough(one):
        return f"{between}, and {result.trials} draws are too few to say more"
    return f"{between}, p {_p(one)}, {over}"


def comparison_table(comparisons: Sequence[Comparison], *, width: int = WIDTH) -> str:
    """Return the comparisons as text in their order; names are shortened where the table would be wider."""
    columns = [*_names(comparisons), *_settings(comparisons), *_numbers(comparisons)]
    header = [column.title for column in columns]
    names = [number for number, column in enumerate(columns) if column.name]
    lines = list(zip(*(column.cells for column in columns), strict=True))
    return text_table(header, narrowed(header, lines, names=names, width=width))


def largest_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons, the largest difference first."""
    return sorted(comparisons, key=lambda one: -abs(one.result.difference))


def comparison_notes(comparisons: Sequence[Comparison], *, scores_kept: bool = False) -> list[str]:
    """Return what a reader of the intervals must know.

    Args:
        scores_kept: whether the scores that a two-way interval needs lie beside the reports.
    """
    if not comparisons:
        return []
    if comparisons[0].interval == "two-way":
        unsure = [one for one in comparisons if one.highest > NEAR_ONE]
        return [
            f"{len(unsure)} of {len(comparisons)} differences are of a mean AUROC above {NEAR_ONE}, where two-way "
            f"intervals cover about 90 % and not 95 % (docs/experiments/coverage.md)"
        ] * bool(unsure)
    first = "" if scores_kept else "run adapt with --keep-scores and "
    return [
        f"intervals and p-values hold for other draws from these images, not for other images, whose difference such "
        f"intervals cover about a third of the time (docs/experiments/coverage.md); for both {first}compare with "
        f"--interval two-way"
    ]


@dataclass(frozen=True)
class _Column:
    title: str
    cells: list[str]
    name: bool = False


def _names(comparisons: Sequence[Comparison]) -> Iterator[_Column]:
    """Yield both sides, called by no more than tells them apart."""
    rows = [row for one in comparisons for row in one.rows]
    names = Names.of(rows)
    fitted = [row for row in rows if row.head != PRETRAINED]
    heads, backbones = len({row.head for row in fitted}) > 1, len({names.backbone(row) for row in rows}) > 1
    across = any(one.first == one.second for one in comparisons)
    for side, title in enumerate(("first", "second")):
        cells = [_short(names, one.rows[side], heads=heads, backbones=backbones) for one in comparisons]
        yield _Column(f"{title} report" if across else title, cells, name=True)


def _short(names: Names, row: Row, *, heads: bool, backbones: bool) -> str:
    if row.head == PRETRAINED:
        return f"{names.backbone(row)} {PRETRAINED}"
    if not heads:
        return names.backbone(row)
    return f"{names.backbone(row)} + {row.head}" if backbones else row.head


def _called(names: Names, row: Row) -> str:
    return f"{names.backbone(row)} {PRETRAINED}" if row.head == PRETRAINED else f"{names.backbone(row)} + {row.head}"


def _settings(comparisons: Sequence[Comparison]) -> Iterator[_Column]:
    """Yield what the pairs differ in, and always how much both were shown."""
    shots = [one.shown.shots for one in comparisons if one.shown.head != PRETRAINED]
    if any(shown is not None for shown in shots):
        yield _Column("shots", ["" if one.shown.shots is None else str(one.shown.shots) for one in comparisons])
    shares = [one.shown.fraction for one in comparisons]
    if any(shown is not None for shown in shares):
        yield _Column("share", ["" if shown is None else share(shown) for shown in shares])
    for title, cells in (
        ("data set", [one.shown.dataset for one in comparisons]),
        ("view", [one.shown.view for one in comparisons]),
    ):
        if len(set(cells)) > 1:
            yield _Column(title, cells, name=True)


def _numbers(comparisons: Sequence[Comparison]) -> Iterator[_Column]:
    yield _Column("difference", [f"{one.result.difference:+.3f}" for one in comparisons])
    yield _Column("95 % interval", [_interval(one) for one in comparisons])
    yield _Column("p (Holm)", [_p(one) for one in comparisons])
    draws = [str(one.result.trials) for one in comparisons]
    if len(set(draws)) > 1:  # else the sentence above has said how many; the names need the room
        yield _Column("draws", draws)


def _enough(comparison: Comparison) -> bool:
    """Whether there is an interval to show: over draws there is none of fewer than ten."""
    return comparison.interval == "two-way" or comparison.result.trials >= ENOUGH_DRAWS


def _interval(comparison: Comparison) -> str:
    result = comparison.result
    return f"{result.low:+.3f} to {result.high:+.3f}" if _enough(comparison) else "n/a"


def _p(comparison: Comparison) -> str:
    if not _enough(comparison):
        return "n/a"
    return "<0.001" if comparison.p_holm < 0.001 else f"{comparison.p_holm:.3f}"


def _over(comparison: Comparison) -> str:
    draws = comparison.result.trials
    if comparison.interval == "draws":
        return f"on the same {draws} draws"
    return f"over new draws and new images, from {draws} draws"
