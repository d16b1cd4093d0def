"""Families of plug-ins, found by entry point, built-ins and third parties alike."""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fewshot.core.errors import FewshotError, unknown_name


@dataclass(frozen=True)
class Registry:
    """One family of named classes, such as the backbones.

    Args:
        group: the entry-point group, for example ``"fewshot.backbones"``.
        kind: what a member is called in messages, for example ``"backbone"``.
    """

    group: str
    kind: str

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    def names(self) -> tuple[str, ...]:
        """Return the names of all members, sorted."""
        return tuple(sorted(self._entries))

    def load(self, name: str) -> Any:
        """Return the class registered under ``name``.

        Raises:
            UnknownNameError: no member has this name.
            FewshotError: two members share the name, or the member's package cannot be imported.
        """
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        entry = self._entries[name]
        try:
            return entry.load()
        except ImportError as error:
            raise FewshotError(
                f"{self.kind} {name!r} needs a package that is not installed ({error}); install it and run again"
            ) from error
