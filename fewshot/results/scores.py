"""The scores that ``--keep-scores`` leaves beside a report, as ``.npz``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import ReportError
from fewshot.core.files import atomic_write
from fewshot.core.npz import read_npz
from fewshot.core.outputs import SCORES
from fewshot.results.legacy_names import entry_of_today
from fewshot.results.row import Row
from fewshot.stats.two_way import TrialMasks

Arrays = Mapping[str, NDArray[Any]]


def save_scores(path: Path, arrays: Arrays) -> Path:
    """Write arrays as a compressed ``.npz`` file and return the path.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_write(path, kind=SCORES) as stream:
        named: dict[str, Any] = dict(arrays)
        np.savez_compressed(stream, **named)
    return path


def scores_beside(path: Path | str) -> dict[str, NDArray[Any]]:
    """Return the arrays that were kept beside a report file; empty when there are none.

    Raises:
        ReportError: the file cannot be read.
    """
    kept = Path(path).with_suffix(".npz")
    if not os.path.lexists(kept):
        return {}
    try:
        return {entry_of_today(name): array for name, array in read_npz(kept).items()}
    except (OSError, ValueError) as error:
        raise ReportError(f"the scores {kept} cannot be read ({error}); run again with --keep-scores") from error


def name_of_scores(backbone: str, layer: str, head: str, shots: int | None, *, view: str = "clean") -> str:
    """Return the name of the scores (T, n) that ``fewshot adapt`` and ``fewshot robustness`` keep of one row."""
    return f"{backbone}|{layer}|{head}|{shots}" + ("" if view == "clean" else f"|{view}")


def name_of_support(shots: int | None) -> str:
    """Return the name of the support mask (T, n) of so many shots."""
    return f"support|{shots}"


def name_at_point(kind: str, head: str, fraction: float, trial: int) -> str:
    """Return the name of the ``rows`` (k,) or the ``scores`` (k,) that ``fewshot attribute`` keeps of one point."""
    return f"{kind} | {head} | {fraction:g} | {trial}"


@dataclass(frozen=True)
class Kept:
    """The scores behind one row of ``fewshot adapt`` or ``fewshot robustness``.

    Args:
        scores: (T, n) floating, of every trial on all images.
        masks: which of them each trial queried and was fitted on, and their classes.
        source: (n,) name of each image's source.
    """

    scores: FloatArray
    masks: TrialMasks
    source: NDArray[Any]

    def against(self, generator: str) -> "Kept":
        """Return the same with no other generator queried."""
        chosen = ~self.masks.synthetic | (self.source == generator)
        return replace(self, masks=replace(self.masks, query=self.masks.query & chosen))


def kept_of_draws(row: Row, arrays: Arrays) -> Kept | None:
    """Return what ``adapt`` or ``robustness`` kept of a row, by data set where there were several runs; else None."""
    title = "" if "query" in arrays else f"{row.dataset}|"
    scores = arrays.get(title + name_of_scores(row.backbone, row.layer, row.head, row.shots, view=row.view))
    support = arrays.get(title + name_of_support(row.shots))
    if scores is None or support is None:
        return None
    others = [arrays.get(f"{title}{name}") for name in ("query", "synthetic", "source")]
    query, synthetic, source = others
    trials = len(row.values)
    require_array(scores, "f", (trials, None), what=f"the scores of {row.backbone} {row.head}")
    images = scores.shape[1]
    require_array(support, "b", (trials, images), what="the support masks")
    return Kept(
        scores,
        TrialMasks(
            require_array(query, "b", (trials, images), what="the query masks"),
            require_array(synthetic, "b", (images,), what="the classes"),
            support,
        ),
        require_array(source, "U", (images,), what="the sources"),
    )


def require_array(array: NDArray[Any] | None, kind: str, shape: tuple[int | None, ...], *, what: str) -> NDArray[Any]:
    """Return an array of kept scores that has the kind and shape it must have.

    Args:
        array: None where the file lacks it.
        kind: of its type: ``f`` (finite), ``b``, ``i`` or ``U``.
        shape: its sizes; None for any.
        what: what the array is, for the message.

    Raises:
        ReportError: it is missing, of another type or shape, or not finite.
    """
    wanted = "(" + ", ".join("n" if size is None else str(size) for size in shape) + ")"
    if array is None:
        found = "missing"
    elif array.dtype.kind != kind or len(array.shape) != len(shape):
        found = f"{array.dtype} of shape {array.shape}"
    elif any(size not in (None, given) for size, given in zip(shape, array.shape, strict=True)):
        found = f"of shape {array.shape}"
    elif kind == "f" and not np.isfinite(array).all():
        found = "not finite"
    else:
        return array
    raise ReportError(
        f"the scores kept beside the report do not fit it: {what} are {found}, and {wanted} of kind {kind!r} is "
        f"wanted; run again with --keep-scores, or move the .npz away"
    )
