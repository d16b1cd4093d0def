"""Members are found by entry point, described without being run, and a name belongs to one of them."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fewshot.core.errors import FewshotError, UnknownNameError
from fewshot.core.registry import Registry, family

SOURCE = '''
raise RuntimeError("this module was run")


class Described:
    """Does one thing,
    in two lines.

    And more.
    """


class Bare:
    pass
'''


def registry(monkeypatch: pytest.MonkeyPatch, **values: str) -> Registry:
    """A registry of entry points, name -> value."""
    found = [EntryPoint(name.replace("_", "-"), value, "fewshot.things") for name, value in values.items()]
    monkeypatch.setattr("fewshot.core.registry.entry_points", lambda group: found)
    return Registry("fewshot.things", "thing")


def test_a_member_is_described_from_its_source_without_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not_run.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)

    things = registry(monkeypatch, one_thing="not_run:Described")

    assert things.summary("one-thing") == "Does one thing, in two lines."
    assert "not_run" not in sys.modules


def test_a_member_whose_source_does_not_show_its_docstring_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain_base.py").write_text('class Base:\n    """What all of them do."""\n')
    (tmp_path / "elsewhere.py").write_text("from plain_base import Base\n\n\nclass Mine(Base):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    things = registry(monkeypatch, mine="elsewhere:Mine", imported="elsewhere:Base")

    assert things.summary("mine") == things.summary("imported") == "What all of them do."


def test_a_member_whose_package_is_missing_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    things = registry(monkeypatch, gone="no_such_package.deep:Gone")

    assert things.names() == ("gone",)
    for ask in (things.load, things.summary):
        with pytest.raises(FewshotError, match=r"'gone' needs a package that is not installed .*; install it"):
            ask("gone")


def test_an_unknown_name_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    things = registry(monkeypatch, one="a:A", two="b:B")

    for ask in (things.load, things.summary, things.module):
        with pytest.raises(UnknownNameError, match="there is no thing 'on'; did you mean 'one'"):
            ask("on")


def test_one_name_of_two_packages_is_refused_and_the_same_entry_twice_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fewshot.core.registry.entry_points",
        lambda group: [EntryPoint("a", "x:A", group), EntryPoint("a", "x:A", group)],
    )
    assert Registry("fewshot.things", "thing").names() == ("a",)

    monkeypatch.setattr(
        "fewshot.core.registry.entry_points",
        lambda group: [EntryPoint("a", "x:A", group), EntryPoint("a", "y:A", group)],
    )
    with pytest.raises(FewshotError, match=r"two packages bring a thing 'a' \(x:A and y:A\); uninstall one"):
        Registry("fewshot.things", "thing").names()


def test_the_families_of_the_package_are_found_by_their_plural() -> None:
    assert {"svm", "knn"} <= set(family("heads").names())
    assert family("layouts").summary("folder").endswith(".")
