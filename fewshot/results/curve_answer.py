"""What a data curve says in one sentence: the attributed class at the largest share, beside the linear probe."""

from collections.abc import Iterator, Sequence

from fewshot.results.pairing import distance_in_words
from fewshot.results.standing import Measured, Names, Standing, measure_title, of_metric, share

ATTRIBUTED = "acm:"  # heads that are fitted on one class
PROBE = "linear-probe"


def curve_parts(report: Measured, ranked: Sequence[Standing]) -> list[str]:
    """Return the parts of the sentence; empty where no class was attributed.

    Args:
        ranked: the report's standings, the best first.
    """
    attributed = [one for one in ranked if one.row.head.startswith(ATTRIBUTED) and one.row.fraction is not None]
    if not attributed:
        return []
    largest = max(_fraction(one) for one in attributed)
    best = next(one for one in attributed if _fraction(one) == largest)
    beside = [one for one in ranked if _fraction(one) == largest and not one.row.head.startswith(ATTRIBUTED)]
    names = Names.of([one.row for one in ranked])
    return [
        f"{best.row.head} on {names.backbone(best.row)}, {best.size}: {_measures(report, best)}",
        best.landed,
        *_references(best, beside),
        *_with_least(best, attributed),
    ]


def _fraction(standing: Standing) -> float:
    return standing.row.fraction or 0.0


def _measures(report: Measured, best: Standing) -> str:
    first = f"{measure_title(best.row.metric)} {best.summary.mean:.2f}"
    accuracy = None if best.row.metric == "accuracy" else of_metric(report, best.row, "accuracy")
    return first if accuracy is None else f"{first}, accuracy {accuracy.summary().mean:.2f}"


def _references(best: Standing, beside: Sequence[Standing]) -> Iterator[str]:
    """Yield the linear probe on the same images, and a reference that does better than both."""
    alike = [one for one in beside if (one.row.layer, one.row.dataset) == (best.row.layer, best.row.dataset)]
    probe = next((one for one in alike if one.row.head == PROBE), None)
    if probe is not None:
        yield f"{PROBE} on the same images {probe.summary.mean:.2f}, {distance_in_words(best.row, probe.row)}"
    first = next(iter(alike), None)
    if first is not None and first is not probe and first.summary.mean > best.summary.mean:
        yield f"{first.row.head} {first.summary.mean:.2f}, {distance_in_words(best.row, first.row)}"


def _with_least(best: Standing, attributed: Sequence[Standing]) -> Iterator[str]:
    """Yield how the same does at the smallest share."""
    row = best.row
    about = (row.head, row.layer, row.dataset)
    alike = [one for one in attributed if (one.row.head, one.row.layer, one.row.dataset) == about]
    least = min(alike, key=_fraction)
    if least is not best:
        yield f"with {share(_fraction(least))} of them {row.head} has {least.summary.mean:.2f}"
