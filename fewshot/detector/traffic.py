"""The images of an audit log that one detector judged, each once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from fewshot.core.arrays import BoolArray, Float64Array
from fewshot.core.errors import InputError
from fewshot.detector.audit_log import AuditEntry
from fewshot.detector.detector import Detector
from fewshot.detector.verdict import UNSURE


@dataclass(frozen=True)
class Traffic:
    """The images of a log that one detector judged, each once, in order.

    Args:
        scores: (t,); unknown: (t,) bool.
        times: (t,) when each was judged, as the log says it.
        repeated, others: entries left out: of an image that was there before, and of other detectors.
    """

    scores: Float64Array = field(repr=False)
    unknown: BoolArray = field(repr=False)
    times: tuple[str, ...] = field(repr=False)
    repeated: int
    others: int

    def __len__(self) -> int:
        return len(self.scores)


def read_traffic(detector: Detector, entries: Iterable[AuditEntry], *, where: str) -> Traffic:
    """Return the images of a log that this detector judged.

    Args:
        where: the log, for messages.

    Raises:
        InputError: there is none, or an entry that this detector cannot have given.
    """
    images: dict[str, AuditEntry] = {}
    own = others = 0
    for entry in entries:
        if entry.detector_sha256 != detector.digest:
            others += 1
            continue
        _require_genuine(detector, entry, where)
        own += 1
        images.setdefault(entry.image_sha256 or f"name {entry.image}", entry)
    if not images:
        raise _no_entry(detector, others, where)
    kept = list(images.values())
    return Traffic(
        scores=np.array([entry.score for entry in kept]),
        unknown=np.array([entry.unknown for entry in kept], dtype=np.bool_),
        times=tuple(entry.time for entry in kept),
        repeated=own - len(kept),
        others=others,
    )


def _require_genuine(detector: Detector, entry: AuditEntry, where: str) -> None:
    """Raise where an entry has other thresholds than its detector, or a verdict that they do not give."""
    described = detector.description
    if (entry.alarm, entry.clear) != (described.alarm.value, described.clear.value):
        wrong = f"the thresholds {entry.alarm:g} and {entry.clear:g}"
    elif entry.verdict not in (UNSURE, *detector.verdicts(np.array([entry.score]))):  # re-encodings make it unsure
        wrong = f"the verdict {entry.verdict} at the score {entry.score:g}"
    else:
        return
    raise InputError(
        f"{where}: the entry of {entry.image!r} at {entry.time} has {wrong}, which the detector {detector.name!r} "
        f"cannot have given though its digest is named; the log was changed after it was written"
    )


def _no_entry(detector: Detector, others: int, where: str) -> InputError:
    if not others:
        return InputError(f"{where} has no entry yet; `fewshot predict --log {where}` adds one for every verdict")
    return InputError(
        f"none of the {others} entries of {where} is of the detector {detector.name!r} ({detector.digest[:12]}); give "
        f"the detector that judged them: a successor is another detector"
    )
