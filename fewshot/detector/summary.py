"""What a detector is and promises, in lines and as JSON: what ``fit`` and ``inspect`` print, and a service answers."""

from typing import Any

import msgspec

from fewshot.detector.description import Counts, HeldOut
from fewshot.detector.detector import Detector
from fewshot.detector.thresholds import promise

RESEMBLE = "the promise is for traffic that resembles the calibration images; other traffic may be flagged more often"


def to_json(detector: Detector) -> dict[str, Any]:
    """Return all that a detector says of itself, with its promises in words, as JSON values."""
    described: dict[str, Any] = msgspec.to_builtins(detector.description)
    return {
        **described,
        "digest": detector.digest,
        "path": None if detector.path is None else str(detector.path),
        "promises": promises(detector),
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
    members = [f"{each.name} with the head {each.head}, {each.auroc:.3f} in the support" for each in described.members]
    alarm, clear = described.alarm, described.clear
    natural_below, synthetic_above = described.bounds
    return [
        f"{detector.path or detector.name}: detector {described.name!r}, version {described.version}",
        f"digest       {detector.digest}",
        *([f"parent       {described.parent}"] if described.parent else []),
        f"fitted       {described.created}, fewshot {described.versions.get('fewshot', 'unknown')}",
        *(f"looks at     {member}" for member in members),
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


def _counted(counts: Counts) -> str:
    sources = ", ".join(f"{source} {count}" for source, count in counts.sources.items())
    return f"{counts.natural} natural, {counts.synthetic} synthetic" + (f" ({sources})" if sources else "")


def _told_apart(held_out: HeldOut) -> str:
    where = "on images held out" if held_out.kind == "held-out" else "inside the support, each image left out in turn"
    interval = "" if held_out.low is None or held_out.high is None else f" ({held_out.low:.3f} to {held_out.high:.3f})"
    return f"{held_out.auroc:.3f}{interval} {where}: {held_out.natural} natural, {held_out.synthetic} synthetic"
