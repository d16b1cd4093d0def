"""Families of plug-ins, found by entry point, built-ins and third parties alike."""

import ast
import inspect
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
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
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            other = found.setdefault(entry.name, entry)
            if other.value != entry.value:
                raise FewshotError(
                    f"two packages bring a {self.kind} {entry.name!r} ({other.value} and {entry.value}); uninstall one"
                )
        return found

    def names(self) -> tuple[str, ...]:
        """Return the names of all members, sorted."""
        return tuple(sorted(self._entries))

    def load(self, name: str) -> Any:
        """Return the class registered under ``name``.

        Raises:
            UnknownNameError: no member has this name.
            FewshotError: two members share a name, or the member's package cannot be imported.
        """
        entry = self._entry(name)
        try:
            return entry.load()
        except ImportError as error:
            raise FewshotError(
                f"{self.kind} {name!r} needs a package that is not installed ({error}); install it and run again"
            ) from error

    def module(self, name: str) -> str:
        """Return the module that holds the class registered under ``name``; nothing is imported.

        Raises:
            UnknownNameError: no member has this name.
        """
        return self._entry(name).module

    def summary(self, name: str) -> str:
        """Return the first paragraph of a member's docstring, on one line, read from its source without running it.

        Raises:
            UnknownNameError: no member has this name.
        """
        entry = self._entry(name)
        text = _docstring(entry) or inspect.getdoc(self.load(name)) or ""
        return text.partition("\n\n")[0].replace("\n", " ")

    def _entry(self, name: str) -> EntryPoint:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]


def family(plural: str) -> Registry:
    """Return one of our families by the name that users list it by.

    >>> family("heads")
    Registry(group='fewshot.heads', kind='head')
    """
    return Registry(group=f"fewshot.{plural}", kind=plural.removesuffix("s"))


def _docstring(entry: EntryPoint) -> str | None:
    """Return the docstring of a member's class as its source has it; None where the source does not show it."""
    try:
        spec = find_spec(entry.module)
    except ImportError:
        return None
    if spec is None or not spec.has_location or not (spec.origin or "").endswith(".py"):
        return None
    for node in ast.parse(Path(spec.origin or "").read_bytes()).body:
        if isinstance(node, ast.ClassDef) and node.name == entry.attr:
            return ast.get_docstring(node)
    return None
