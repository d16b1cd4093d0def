"""What the names on a page mean: protocols, backbones and heads as their registries describe them."""

from collections.abc import Iterable, Iterator
from itertools import chain

from fewshot.core.registry import family
from fewshot.results.report import Report
from fewshot.results.row import FUSED, ONE, PRETRAINED, WEIGHT

# Names of reports that no registry has.
_OWN = {
    PRETRAINED: "the head that came with the checkpoint; it saw none of these images",
    "linear-probe": "one linear layer on the features, trained on the same images for comparison",
    "rbf-svm": "a support vector machine on the features, fitted on the same images for comparison",
    "all": "every image that was queried, of all generators together",
    "macro": "the mean over the generators, each counted alike",
    FUSED: "one head over all backbones, which it weighs by what the support alone shows",
    ONE: "one of the backbones: chosen in every support, or (oracle) on query labels, which is no estimate",
    WEIGHT: "how much a head over several backbones takes of one of them, by the support alone",
    "others": "the generators of no known family together",
}
MOST_NAMES = 50


def explained(reports: Iterable[Report]) -> tuple[tuple[str, str], ...]:
    """Return (name, what it means) of everything that the reports name and somebody describes, each once."""
    found = dict(chain.from_iterable(map(_of_report, reports)))
    return tuple(found.items())[:MOST_NAMES]


def protocol_meaning(report: Report) -> str:
    """Return what a report's protocol does, in a sentence; empty where no installed package brings it."""
    return _registered("protocols", report.protocol)


def _of_report(report: Report) -> Iterator[tuple[str, str]]:
    rows = report.rows
    families = {
        "protocols": [report.protocol],
        "heads": [row.head for row in rows],
        "backbones": [row.backbone for row in rows],
    }
    for plural, names in families.items():
        for name in dict.fromkeys(names):
            meaning = _OWN.get(name) or _registered(plural, name)
            if meaning:
                yield name, meaning
    for source in dict.fromkeys(row.source for row in rows):
        if source in _OWN:
            yield source, _OWN[source]


def _registered(plural: str, name: str) -> str:
    """Return the first paragraph of a member's docstring; ``acm:natural`` and ``npr:crop224`` are variants of one."""
    registry = family(plural)
    member = name.partition(":")[0].partition("@")[0]
    return registry.summary(member).replace("``", "") if member in registry.names() else ""
