"""The answer that a report gives, in one sentence.

Terminals, pages, notebooks and the demo lead with the same, so that none says more than another.
"""

from collections.abc import Iterator, Sequence

from fewshot.results.curve_answer import curve_parts
from fewshot.results.pairing import distance_in_words
from fewshot.results.row import FUSED, ONE, PRETRAINED
from fewshot.results.source_answer import NEAREST, source_parts
from fewshot.results.standing import CLEAN, ORACLE, Measured, Names, Standing, best_of, perturbed
from fewshot.results.standing import leading_metric as leading_metric
from fewshot.results.standing import measure_title as measure_title
from fewshot.results.standing import standings as standings
from fewshot.results.view_answer import view_parts


def answer(report: Measured) -> str:
    """Return the answer in one sentence: what did best, how far one draw can be trusted, and what came next.

    Of a data curve it is how the attributed class does at the largest share, beside the linear probe; of a report over
    views, which view costs most; of nearest sources, how many images are given to their own.

    >>> from fewshot.results.report import Report, Row
    >>> values = dict(dataset="toy", source="all", metric="auroc", n_support=20, n_query=80, shots=10)
    >>> rows = [Row("npr", "pooled", "fixed", "svm", values=(0.9,) * 10, **values)]
    >>> rows += [Row("safe", "pooled", "fixed", "svm", values=(0.87,) * 10, **values)]
    >>> print(answer(Report("fiser", {}, tuple(rows))).replace("; ", chr(10)))
    npr + svm, 10 shots: AUROC 0.90, the best of 2 compared on these query images
    a single draw lands between 0.90 and 0.90 nine times of ten
    next best backbone safe, 0.03 lower (0.03 to 0.03)
    """
    if report.protocol == NEAREST:
        return "; ".join(source_parts(report))
    ranked = [one for one in standings(report) if one.summary.trials]
    if not ranked:
        return "nothing was measured"
    if any(one.row.fraction is not None for one in ranked):
        return "; ".join(curve_parts(report, ranked) or _few_shot_parts(ranked))
    if any(perturbed(report)) and any(one.row.view == CLEAN for one in ranked):
        return "; ".join(view_parts(report, ranked))
    return "; ".join(_few_shot_parts(ranked))


def _few_shot_parts(ranked: Sequence[Standing]) -> list[str]:
    names, best, following = Names.of([one.row for one in ranked]), ranked[0], _next_best(ranked)
    said = [best, *([] if following is None else [following])]
    beside = _fused_and_chosen(names, ranked, said)
    own = _own(names, ranked, following)
    return [_verdict(names, ranked), best.landed, *_next(names, best, following), *beside, *own]


def _verdict(names: Names, ranked: Sequence[Standing]) -> str:
    best = ranked[0]
    size = f", {best.size}" if best.size else ""
    chosen = " (chosen on query labels: an upper bound)" if best.row.selection == ORACLE else ""
    measured = f"{measure_title(best.row.metric)} {best.summary.mean:.2f}"
    return f"{names.detector(best.row)}{size}: {measured}{chosen}{best_of(ranked)}"


def _next_best(ranked: Sequence[Standing]) -> Standing | None:
    """Return the best of another backbone that was shown as much, else of another head.

    Beside a pretrained head, which was shown nothing, every other backbone stands, however much it was shown.
    """
    best = ranked[0]
    alike = [one for one in ranked[1:] if one.row.dataset == best.row.dataset]
    if best.row.head == PRETRAINED:
        return next((one for one in alike if one.row.backbone != best.row.backbone), None)
    others = [one for one in alike if one.row.head == PRETRAINED or one.size == best.size]
    for_other_backbone = (one for one in others if one.row.backbone != best.row.backbone)
    return next(for_other_backbone, next((one for one in others if one.row.head != best.row.head), None))


def _next(names: Names, best: Standing, following: Standing | None) -> Iterator[str]:
    if following is None:
        return
    row = following.row
    if row.head == PRETRAINED:
        name = names.detector(row)
    elif row.backbone == best.row.backbone:
        name = f"head {row.head}"
    else:
        called = names.backbone(row) if row.head == best.row.head else names.detector(row)
        name = called if row.members else f"backbone {called}"
    if following.size != best.size and following.size:
        name = f"{name} with {following.size}"
    yield f"next best {name}, {distance_in_words(best.row, row)}"


def _fused_and_chosen(names: Names, ranked: Sequence[Standing], said: Sequence[Standing]) -> Iterator[str]:
    """Yield how all backbones fused, and one of them chosen in the support, do beside the best, where not yet said."""
    best = ranked[0]
    for kind in (FUSED, ONE):
        alike = (one for one in ranked if one.row.backbone == kind and one.row.members)
        found = next((one for one in alike if (one.row.dataset, one.size) == (best.row.dataset, best.size)), None)
        if found is not None and found not in said:
            yield f"{names.backbone(found.row)}, {distance_in_words(best.row, found.row)}"


def _own(names: Names, ranked: Sequence[Standing], following: Standing | None) -> Iterator[str]:
    """Yield what a head that came with a checkpoint has on the same queries: the best one's own, else the best."""
    best = ranked[0]
    pretrained = [one for one in ranked if one.row.head == PRETRAINED and one.row.dataset == best.row.dataset]
    own = next((one for one in pretrained if one.row.backbone == best.row.backbone), None)
    if best.row.head == PRETRAINED or following in pretrained:
        return
    if own is not None:
        yield f"its own pretrained head {own.summary.mean:.2f}"
    elif pretrained:
        yield f"the best pretrained head, of {names.backbone(pretrained[0].row)}, {pretrained[0].summary.mean:.2f}"
