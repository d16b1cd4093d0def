"""Images, or single features of them, that could not be had: which, and why."""

from dataclasses import dataclass

import pandas as pd

EVERY = "*"  # backbone and view of a failure that concerns the image itself


@dataclass(frozen=True)
class Failure:
    """One image that has no row, or whose row lacks the features of one backbone under one view.

    Args:
        key: the image; backbone, view: whose features are missing, ``EVERY`` where the image itself cannot be read.
        reason: why, in words.
    """

    key: str
    backbone: str
    view: str
    reason: str


class Reasons:
    """Why images are absent: the latest known reason per image, backbone and view."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], str] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Learn the failures of one store; later ones replace earlier ones."""
        for line in frame.itertuples(index=False):
            self._found[(str(line.key), str(line.backbone), str(line.view))] = str(line.reason)

    def note(self, key: str, reason: str) -> None:
        """Learn why an image as a whole cannot be had."""
        self._found[(key, EVERY, EVERY)] = reason

    def of(self, key: str, backbone: str, view: str) -> str:
        """Return the reason."""
        for place in ((key, backbone, view), (key, EVERY, EVERY)):
            if place in self._found:
                return self._found[place]
        return "not known"
