"""Any text becomes the name of one file that every system takes, and two texts never the same one."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot.core.path_names import MOST_BYTES, distinct_path_names, path_name

HOSTILE = [
    "", ".", "..", "...", "/", "//", "../..", "/etc/passwd", "a/../../b", "..\\..\\b", "C:", "C:\\x", "c:x",
    "\\\\host\\x",
    "CON", "con", "nul.txt", "NUL .txt", "COM1", "com¹", "LPT9.tar.gz", "CONIN$", "AUX", "PRN", "a.", "a ", "a. .",
    " ", "a:b", "a*?", 'a"<>|', "a\0b", "a\nb", "a\x7f", "\x1b[2J", "\u202egnp.exe", "\ud800", "\udcff", "~", "%2e%2e",
    "x" * 300, "ü" * 200, "a" * 255, "%", "%%", "-rf", "💥" * 100,
]  # fmt: skip
FORBIDDEN = set('/\\:*?"<>|') | set(map(chr, range(32)))
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³")}


def require_safe(name: str) -> None:
    assert name
    assert name.isprintable()
    assert not FORBIDDEN & set(name)
    assert name not in (".", "..")
    assert not name.endswith((".", " "))
    assert name.partition(".")[0].rstrip(" ").upper() not in DEVICES
    assert len(name.encode()) <= MOST_BYTES


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_becomes_one_safe_name_in_its_folder(tmp_path: Path, name: str) -> None:
    found = path_name(name)

    require_safe(found)
    (tmp_path / found).write_text("x")
    assert os.listdir(tmp_path) == [found]  # noqa: PTH208  # the names as the system has them
    assert path_name(name) == found


@given(st.lists(st.text(st.characters(), max_size=300), max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_names_become_safe_ones_that_no_system_takes_for_each_other(names: list[str]) -> None:
    found = distinct_path_names(names)

    assert list(found) == list(dict.fromkeys(names))
    for name in found.values():
        require_safe(name)
    assert len({name.casefold() for name in found.values()}) == len(found)


def test_ordinary_names_stay_as_they_are() -> None:
    for name in (
        "npr",
        "blocks.1.cls",
        "dinov3_vitl16",
        "ViT-L-14",
        "höhe",
        "a b",
        "x.tar.gz",
        "console",
        "com10",
        string.ascii_letters,
    ):
        assert path_name(name) == name


def test_names_that_differ_in_case_or_accents_alone_get_numbers() -> None:
    found = distinct_path_names(["Net", "net", "NET", "é", "e\u0301", "store.json"], taken=["store.json"])

    assert found == {
        "Net": "Net", "net": "net%2", "NET": "NET%3", "é": "é", "e\u0301": "e\u0301%2", "store.json": "store.json%2"
    }  # fmt: skip
