"""Test sets, the families of their generators (GANs, diffusion models, others), and the means over them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot.core.arrays import BoolArray, Float64Array, IntArray
from fewshot.core.errors import OptionError
from fewshot.stats.metrics import Ranked

FAMILIES = ("gans", "diffusion", "others")
POOLED, MACRO = "all", "macro"
TPR_AT_5 = "tpr_at_5_fpr"

# Names as `plain_name` gives them; the fifteen test sets of arXiv 2603.00717v2, Table 1, come first, in its groups.
_GANS = "progan biggan cyclegan stargan stylegan gaugan stylegan2 stylegan3 gansformer styleswin r3gan"
_OTHERS = "san deepfake crn imle seeingdark sitd whichfaceisreal dallemini dalle var gptimage1 gptimage2"
_DIFFUSION = (
    "adm glide sd14 sd15 vqdm midjourney wukong ddpm ddim ldm glid3xl dalle2 dalle3 sd1 sd2 sd21 sd3 sdxl imagen "
    "flux pixart kandinsky midjourney2022 firefly if dit"
)
_FAMILY_OF = {
    name: family for family, names in zip(FAMILIES, (_GANS, _DIFFUSION, _OTHERS), strict=True) for name in names.split()
}
_ALIASES = {
    "sdv4": "sd14", "sdv14": "sd14", "stablediffusionv14": "sd14", "stablediffusion14": "sd14",
    "sdv5": "sd15", "sdv15": "sd15", "stablediffusionv15": "sd15", "stablediffusion15": "sd15",
}  # fmt: skip


def plain_name(source: str) -> str:
    """Return a generator's name as the tables write it.

    >>> plain_name("SD V1.4"), plain_name("Stable_Diffusion_v1.5"), plain_name("glid-3-xl")
    ('sd14', 'sd15', 'glid3xl')
    """
    letters = re.sub(r"[^a-z0-9]", "", source.lower())
    return _ALIASES.get(letters, letters)


def family_of(source: str, given: Mapping[str, str] | None = None) -> str:
    """Return the family of a generator: the given one, the known one, or ``others``.

    Raises:
        OptionError: a given family that is none.
    """
    family = (given or {}).get(source, _FAMILY_OF.get(plain_name(source), "others"))
    if family not in FAMILIES:
        raise OptionError(f"the family of {source!r} is {family!r}; it must be one of {', '.join(FAMILIES)}")
    return family


def is_known(source: str, given: Mapping[str, str] | None = None) -> bool:
    """Return whether the family of a generator is given or known."""
    return source in (given or {}) or plain_name(source) in _FAMILY_OF


@dataclass(frozen=True)
class QuerySet:
    """One query set: all images, or one generator against the natural images that belong to it.

    Args:
        source: the generator, or ``all``.
        chosen: (n,) bool: which query images.
    """

    source: str
    chosen: BoolArray


def query_sets(sources: NDArray[Any], synthetic: BoolArray, datasets: NDArray[Any]) -> tuple[QuerySet, ...]:
    """Return the pooled set and one per generator.

    A generator stands against the natural images under its own name (as in ForenSynths), else those of its data sets,
    else all.

    Args:
        sources, synthetic, datasets: (n,) of the query images.
    """
    found = [QuerySet(POOLED, np.ones(len(sources), bool))]
    for source in sorted(set(sources[synthetic])):
        mine = (sources == source) & synthetic
        natural = ~synthetic & (sources == source)
        if not natural.any():
            natural = ~synthetic & np.isin(datasets, list(set(datasets[mine])))
        if not natural.any():
            natural = ~synthetic
        found.append(QuerySet(str(source), mine | natural))
    return tuple(found)


def measure(
    scores: Float64Array,
    synthetic: BoolArray,
    sets: Sequence[QuerySet],
    metrics: Sequence[str],
    *,
    fewest_natural: int,
) -> dict[tuple[str, str], float]:
    """Return {(source, metric): value} of every query set.

    Args:
        fewest_natural: with fewer natural images in a set, its TPR at 5 % FPR is NaN.
    """
    values = {}
    for queried in sets:
        ranked = Ranked.of(scores[queried.chosen], synthetic[queried.chosen])
        values.update({(queried.source, metric): ranked.measure(metric) for metric in metrics})
        if np.count_nonzero(queried.chosen & ~synthetic) < fewest_natural:
            values[queried.source, TPR_AT_5] = float("nan")
    return values


def add_means(values: Mapping[tuple[str, str], float], families: Mapping[str, str]) -> dict[tuple[str, str], float]:
    """Return the values with the unweighted means over generators: ``gans``, ``diffusion``, ``others``, ``macro``.

    Args:
        values: {(source, metric): value} per query set.
        families: generator -> family.
    """
    metrics = list(dict.fromkeys(metric for _, metric in values))
    groups = {family: [s for s in families if families[s] == family] for family in FAMILIES} | {MACRO: list(families)}
    means = {
        (group, metric): float(np.mean([values[source, metric] for source in members]))
        for metric in metrics
        for group, members in groups.items()
        if members and all((source, metric) in values for source in members)
    }
    return {**values, **means}


def count(sets: Sequence[QuerySet], families: Mapping[str, str], counted: BoolArray) -> dict[str, int]:
    """Return how many of the counted images (n,) each query set has; a mean has those of its members together."""
    sizes = {queried.source: int((queried.chosen & counted).sum()) for queried in sets}
    for family in (*FAMILIES, MACRO):
        members: list[IntArray] = [
            np.flatnonzero(queried.chosen & counted)
            for queried in sets
            if queried.source != POOLED and family in (MACRO, families.get(queried.source))
        ]
        if members:
            sizes[family] = len(np.unique(np.concatenate(members)))
    return sizes
