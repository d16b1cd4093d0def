"""The scores that ``--keep-scores`` leaves beside a report, as ``.npz``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import FloatArray
from fewshot.core.errors import ReportError
from fewshot.core.files import atomic_write
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
    if not kept.is_file():
        return {}
    try:
        with np.load(kept, allow_pickle=False) as archive:
            return {entry_of_today(name): archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
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
    return Kept(
        scores, TrialMasks(arrays[f"{title}query"], arrays[f"{title}synthetic"], support), arrays[f"{title}source"]
    )
