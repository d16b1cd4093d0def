"""Options that could not be applied as given: what was applied instead stands in the report, and a warning says so."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fewshot.heads.base import Head
from fewshot.protocols.trials.head_variants import Scale, not_scaled
from fewshot.protocols.trials.selection import folds_of
from fewshot.protocols.trials.trials import Trials
from fewshot.solvers.blocks import FOLDS
from fewshot.stats.metrics import FEWEST_NATURAL, FPR, Tpr


@dataclass(frozen=True)
class Applied:
    """One option that was not applied as given.

    Args:
        option: as the user knows it, for example ``"-k of the head knn, 1 shots"``.
        given, applied: JSON values.
        why: the reason, as the end of a sentence.
    """

    option: str
    given: Any
    applied: Any
    why: str

    def __str__(self) -> str:
        if self.applied is None:
            return f"{self.option}: {self.given} was given and not applied, for {self.why}"
        return f"{self.option}: {self.given} was given and {self.applied} applied, for {self.why}"


def recorded(found: Iterable[Applied]) -> list[dict[str, Any]]:
    """Return what a report's configuration keeps under ``applied``."""
    return [asdict(one) for one in found]


def of_heads(heads: Sequence[Head], trials: Trials, shots: Sequence[int]) -> Iterator[Applied]:
    """Yield the parameters of heads that the smallest support of some trial does not allow."""
    for head in heads:
        given = head.get_params()
        for count in shots:
            images = min(len(rows) for rows in trials.supports(count))
            for name, value in head.applied(images).items():
                yield Applied(
                    f"{name} of the head {head.name}, {count} shots",
                    given[name],
                    value,
                    f"a support has {images} images",
                )


def of_device(heads: Sequence[Head], device: str, *, one_by_one: bool) -> Iterator[Applied]:
    """Yield the heads that are fitted on the CPU whatever the device."""
    for head in heads if device != "cpu" else ():
        if one_by_one or type(head).score_draws is Head.score_draws:
            yield Applied(f"--device of the head {head.name}", device, "cpu", "it is fitted one support after another")


def of_scale(heads: Sequence[Head], scale: Scale) -> Iterator[Applied]:
    """Yield the heads to which a scale that is wanted does not apply."""
    for name, reason in not_scaled(heads, scale):
        yield Applied(f"--scale of the head {name}", scale, None, reason)


def of_folds(layer: Sequence[str], trials: Trials, shots: Sequence[int], *, scale: Scale = "unit") -> Iterator[Applied]:
    """Yield the cross-validations of a layer or scale that have fewer folds than usual."""
    chosen = "--layer support-cv" if "support-cv" in layer else "--scale auto"
    for count in shots if "support-cv" in layer or scale == "auto" else ():
        folds = folds_of(trials, count)
        if folds < FOLDS:
            yield Applied(
                f"folds of {chosen}, {count} shots",
                FOLDS,
                folds,
                "each fold holds an image of every class out",
            )


def of_false_positive_rate(trials: Trials, tpr: Tpr, *, fewest_natural: int) -> Iterator[Applied]:
    """Yield the rate at which the true-positive rate is measured where 5 % of the natural images is no image.

    Args:
        fewest_natural: with fewer in a query the measure is not given at all, of which ``tpr_caveats`` tells.
    """
    fewest = min(int((~trials.synthetic[drawn.query]).sum()) for drawn in trials.draws)
    if tpr == "at-most" and fewest_natural <= fewest < FEWEST_NATURAL:
        yield Applied(
            "FPR of tpr_at_5_fpr", FPR, 0.0, f"a query has {fewest} natural images, of which 5 % is less than one"
        )


def of_solver(unsolved: Iterable[str]) -> Iterator[Applied]:
    """Yield the heads that the batched solver did not solve."""
    for name in dict.fromkeys(unsolved):
        yield Applied(
            f"--solver of the head {name}", "batched", "sklearn", "a fit did not converge, and all were made one by one"
        )
