"""Images, or single features of them, that could not be had: which, and why."""

from collections.abc import Iterable
from dataclasses import dataclass

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

    @property
    def of_image(self) -> bool:
        """Whether the image as a whole is missing."""
        return self.backbone == EVERY


class Reasons:
    """Why images are absent: the latest known reason per image, backbone and view."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], str] = {}

    def add(self, failures: Iterable[Failure]) -> None:
        """Take over the failures of one store; later ones replace earlier ones."""
        for failure in failures:
            self._found[(failure.key, failure.backbone, failure.view)] = failure.reason

    def note(self, key: str, reason: str) -> None:
        """Take over why an image as a whole cannot be had."""
        self._found[(key, EVERY, EVERY)] = reason

    def of(self, key: str, backbone: str = EVERY, view: str = EVERY) -> str:
        """Return why an image, or its features of one backbone under one view, are absent."""
        own = self._found.get((key, backbone, view))
        return own or self._found.get((key, EVERY, EVERY), "not known")

    def failure(self, key: str, backbone: str = EVERY, view: str = EVERY) -> Failure:
        """Return the same as a failure."""
        return Failure(key, backbone, view, self.of(key, backbone, view))
