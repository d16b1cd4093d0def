"""What a detector is and promises, in lines and as JSON: what ``fit`` and ``inspect`` print, and a service answers."""

from typing import Any

import msgspec

from fewshot.detector.description import Counts, Description, HeldOut, Member
from fewshot.detector.detector import Detector
from fewshot.detector.thresholds import promise

RESEMBLE = "the promise is for traffic that resembles the calibration images; other traffic may be flagged more often"

FUSED = "fused, the weights found anew in each fold"
CHOICE = "the choice of one, chosen anew in each fold (support-cv)"


def to_json(detector: Detector) -> dict[str, Any]:
    """Return all that a detector says of itself, with its promises in words, as JSON values."""
    described: dict[str, Any] = msgspec.to_builtins(detector.description)
    return {
        **described,
        "digest": detector.digest,
        "path": None if detector.path is None else str(detector.path),
        "promises": promises(detector),
        "weighed": weighed(detector.description),
        "thumbnails": len(detector.thumbnails),
    }


def promises(detector: Detector) -> list[str]:
    """Return what the two thresholds promise, in sentences."""
    described = detector.description
    found = [promise(described.alarm), promise(described.clear)]
    return [*found, RESEMBLE] if described.alarm.kind == "certificate" else found


def lines(detector: Detector) -> list[str]:
    """Return what a detector is and promises, a line each."""
    described = detector.description
    alarm, clear = described.alarm, described.clear
    natural_below, synthetic_above = described.bounds
    return [
        f"{detector.path or detector.name}: detector {described.name!r}, version {described.version}",
        f"digest       {detector.digest}",
        *([f"parent       {described.parent}"] if described.parent else []),
        f"fitted       {described.created}, fewshot {described.versions.get('fewshot', 'unknown')}",
        *(f"looks at     {_looks_at(member)}" for member in described.members),
        *([f"fused        {weighed(described)}", *_compared(described)] if described.fusion else []),
        f"support      {_counted(described.support)}",
        f"calibration  {_counted(described.calibration)}",
        f"held out     {_counted(described.held_out_synthetic)}",
        f"AUROC        {_told_apart(described.held_out)}",
        f"synthetic    above {synthetic_above:.4g}: {promise(alarm)}",
        f"natural      below {natural_below:.4g}: {promise(clear)}",
        "unsure       between the two",
        *([f"             {RESEMBLE}"] if alarm.kind == "certificate" else []),
        *(f"note         {note}" for note in described.notes),
    ]


def weighed(described: Description) -> str:
    """Return in words how fused members count, for example ``npr 0.41 + ferretnet 0.59``; empty where none are."""
    backbones = [each.backbone for each in described.members]
    names = [each.name if backbones.count(each.backbone) > 1 else each.backbone for each in described.members]
    weights = described.weights.values()
    said = " + ".join(f"{name} {weight:.2g}" for name, weight in zip(names, weights, strict=False))
    return f"{said}, weighed inside the support" if said else ""


def compared(described: Description) -> list[tuple[str, float]]:
    """Return what a fusion is to be measured by: names with AUROCs that are cross-validated inside the support.

    The fusion with its weights, one layer chosen anew in each fold, and every layer alone; empty without a fusion.
    """
    fusion = described.fusion
    if fusion is None:
        return []
    alone = [(each.name, each.auroc) for each in described.members]
    alone += [(f"{each.name} (weight 0, left out)", each.auroc) for each in fusion.dropped]
    return [(FUSED, fusion.auroc), (CHOICE, fusion.choice_auroc), *alone]


def _compared(described: Description) -> list[str]:
    first, *others = [f"{auroc:.3f}  {name}" for name, auroc in compared(described)]
    return [f"in support   {first}", *(f"             {line}" for line in others)]


def _looks_at(member: Member) -> str:
    weight = "" if member.weight is None else f", weight {member.weight:.2g}"
    return f"{member.name} with the head {member.head}, {member.auroc:.3f} in the support{weight}"


def _counted(counts: Counts) -> str:
    sources = ", ".join(f"{source} {count}" for source, count in counts.sources.items())
    return f"{counts.natural} natural, {counts.synthetic} synthetic" + (f" ({sources})" if sources else "")


def _told_apart(held_out: HeldOut) -> str:
    where = "on images held out" if held_out.kind == "held-out" else "inside the support, each image left out in turn"
    interval = "" if held_out.low is None or held_out.high is None else f" ({held_out.low:.3f} to {held_out.high:.3f})"
    return f"{held_out.auroc:.3f}{interval} {where}: {held_out.natural} natural, {held_out.synthetic} synthetic"
