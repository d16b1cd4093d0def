"""The error of one image that cannot be used: its kind, and what was found."""

from typing import Literal

Reason = Literal[
    "missing", "unreadable", "empty", "not-an-image", "truncated", "damaged", "bomb", "mode", "changed", "memory"
]
MAX_PIXELS = 178_956_970  # twice Pillow's default warning limit (89,478,485), the size at which Pillow itself refuses
_MOST_CHARACTERS = 300


class UnreadableImage(Exception):
    """One image cannot be used; ``reason`` is the kind and the text says what was found."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(f"{reason}: {printable(text)}")
        self.reason = reason


def printable(text: str) -> str:
    """Return a decoder's words fit for one line: it may quote what the file holds, of any length and content."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: _MOST_CHARACTERS + 1])
    return shown if len(shown) <= _MOST_CHARACTERS else f"{shown[:_MOST_CHARACTERS]} ..."
