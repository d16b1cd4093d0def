"""What is printed holds no character that a terminal obeys."""

import json

import pytest

from fewshot.core.control_characters import escape_control, escape_lines, json_text

CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029", "\ud800", "\udcff"]
DIRECTIONS = [*map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF))]


@pytest.mark.parametrize("character", CONTROLS + DIRECTIONS, ids=ascii)
def test_no_control_character_or_mark_of_direction_is_left(character: str) -> None:
    shown = escape_control(f"a{character}b")

    assert shown.isascii()
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert eval(f"'{shown}'") == f"a{character}b"


def test_what_can_be_seen_stays() -> None:
    for text in ("", "a b", "höhe/图像.png", "C:\\x", "-> ±"):
        assert escape_control(text) == text


def test_lines_stay_lines() -> None:
    assert escape_lines("a\nb\x1b[0m\r\nc") == "a\nb\\x1b[0m\\r\nc"


def test_json_is_valid_and_printable_whatever_it_holds() -> None:
    document = {"name": " ".join([*CONTROLS, *DIRECTIONS]), "values": [1.0, float("nan"), float("-inf")]}

    text = json_text(document)

    assert text.isprintable()
    assert text.isascii()
    assert json.loads(text) == {"name": document["name"], "values": [1.0, None, None]}
