"""One source left out of the index: how well its images are told from those of the sources that are there."""

from collections.abc import Iterator

import numpy as np

from fewshot.core.arrays import Float64Array
from fewshot.core.progress import Progress
from fewshot.embeddings.search.neighbours import vote
from fewshot.embeddings.search.openset import KnownScores
from fewshot.protocols.sources.searched_store import SearchedStore
from fewshot.protocols.trials.source_measures import open_set_rate, unknown_auroc
from fewshot.results.row import Row


def open_set_rows(searched: SearchedStore, progress: Progress) -> Iterator[Row]:
    """Yield the open-set measures of each source left out, and their means; none of two sources only."""
    index = searched.index
    collected: dict[str, list[tuple[float, ...]]] = {}
    for name in searched.names if len(searched.names) > 2 else ():
        inside = index.sources == name
        measured, queries = _left_out(searched, name)
        for metric, values in measured.items():
            collected.setdefault(metric, []).append(values)
        yield from searched.rows(name, measured, n_support=int((~inside).sum()), n_query=queries)
        progress.advance(note=f"{name} left out")
    means = {metric: tuple(np.mean(lines, axis=0)) for metric, lines in collected.items()}
    yield from searched.rows("macro", means, n_support=len(index), n_query=len(index))


def _left_out(searched: SearchedStore, name: str) -> tuple[dict[str, tuple[float, ...]], int]:
    """Return the measures by name, and the number of images of the source that were queried."""
    index = searched.index
    inside = index.sources == name
    known = searched.some(np.flatnonzero(~inside), 3)
    unknown = searched.some(np.flatnonzero(inside), 4)
    of_known, of_unknown = searched.nearest(known, ~inside), searched.nearest(unknown, ~inside)
    right = vote(of_known, index.counts).best == index.sources[known]
    near, far = of_known.scores[:, 0], of_unknown.scores[:, 0]
    false, detected = zip(*_calibrated_halves(searched, near, far), strict=True)
    measured = {
        "unknown_auroc": (unknown_auroc(near, far),),
        "open_set_rate": (open_set_rate(near, np.asarray(right, bool), far),),
        "false_unknown_rate": false,
        "unknown_rate": detected,
    }
    return measured, len(unknown)


def _calibrated_halves(searched: SearchedStore, near: Float64Array, far: Float64Array) -> Iterator[tuple[float, float]]:
    """Yield (false-unknown rate, unknown rate) of thresholds calibrated on one half of the known images."""
    settings = searched.settings
    for trial in range(settings.trials):
        order = np.random.default_rng([settings.seed, trial, len(near)]).permutation(len(near))
        half = len(near) // 2
        known = KnownScores(np.sort(near[order[:half]]))
        yield (
            float(known.unknown(near[order[half:]], rate=settings.rate).mean()),
            float(known.unknown(far, rate=settings.rate).mean()),
        )
