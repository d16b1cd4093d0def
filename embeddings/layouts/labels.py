"""Which words and codes mean natural or synthetic; whatever else stands in a label's place is of neither class."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, final

from fewshot.core.errors import InputError, nearest_name

# Class words in any case, as public releases use them (CNNDetection 0_real and 1_fake, GenImage nature and ai, WildFake
# Real); a folder of one of these names says the class of what is below it.
NATURAL_WORDS = frozenset({"0_real", "real", "nature", "natural", "authentic", "0"})
SYNTHETIC_WORDS = frozenset({"1_fake", "fake", "ai", "synthetic", "generated", "1"})
_NUMBERS = frozenset({"0", "1", "0.0", "1.0", "true", "false", "yes", "no"})
_TRUE = {"1", "1.0", "true", "yes"} | SYNTHETIC_WORDS
_FALSE = {"0", "0.0", "false", "no"} | NATURAL_WORDS
_A_SLIP = 0.8  # of difflib: ``fakes`` and ``fake`` are 0.89 alike, ``face`` and ``fake`` 0.75
_SHOWN = 40  # characters of a label in a message


def label(value: Any) -> bool | None:
    """Return True = synthetic, False = natural, None when the value is neither.

    >>> label("1"), label(False), label("0_REAL"), label("maybe")
    (True, False, False, None)
    """
    if not isinstance(value, str | int | float | Decimal):  # text of a list or of bytes is no label
        return None
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def meant_word(name: str) -> str | None:
    """Return the class word that a name is hardly more than a slip away from, None where none is.

    >>> meant_word("fakes"), meant_word("faces"), meant_word("10")
    ('fake', None, None)
    """
    words = (word for word in NATURAL_WORDS | SYNTHETIC_WORDS if not word.isdecimal())
    return nearest_name(name, words, alike=_A_SLIP)


class UnlabelledRow(InputError):
    """A row is of neither class; ``reason`` is what is counted when such rows are left out."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@final
class LabelReader:
    """Reads the labels of one column, by its class names where it has them.

    A code counts into the class names from 0; one before the first or behind the last name is of neither class, and so
    is anything but a whole number. Without names, words and numbers must not stand in one column: beside ``real`` and
    ``fake`` nobody can say what 1 means.

    Args:
        names: the class names of the codes 0, 1, ...; empty when values are read as they stand.
        wanted: what a label must be, for the message.
    """

    def __init__(self, names: Sequence[Any] = (), *, wanted: str) -> None:
        self.names = tuple(names)
        self._wanted = wanted
        self._first: dict[bool, str] = {}

    def read(self, value: Any, *, where: str) -> bool:
        """Return True = synthetic, False = natural.

        Args:
            value: what stands in the row; where: file, row and column, for the message.

        Raises:
            UnlabelledRow: of neither class.
            InputError: a number in a column of words, or a word in one of numbers.
        """
        found = label(self._named(value)) if self.names else label(value)
        if found is None:
            raise self._unlabelled(value, where)
        if not self.names:
            self._require_one_vocabulary(value, where)
        return found

    def _named(self, code: Any) -> Any:
        whole = isinstance(code, int) and not isinstance(code, bool)
        return self.names[code] if whole and 0 <= code < len(self.names) else None

    def _unlabelled(self, value: Any, where: str) -> UnlabelledRow:
        shown = shortened(value)
        classes = f"; the class names are {', '.join(map(shortened, self.names))}" if self.names else ""
        word = None if self.names else meant_word(str(value))
        meant = "." if word is None else f"; did you mean {word!r}?"
        return UnlabelledRow(
            f"{where} = {shown} is neither class{classes}; {self._wanted}{meant} Rows without a label are left out and "
            f"counted with --skip-unlabelled",
            reason=f"label {shown} is of neither class",
        )

    def _require_one_vocabulary(self, value: Any, where: str) -> None:
        number = str(value).strip().lower() in _NUMBERS
        if number in self._first:
            return
        self._first[number] = f"{where} = {shortened(value)}"
        if len(self._first) == 2:
            raise InputError(
                f"{self._first[number]}, but {self._first[not number]}: words and numbers in one column of labels "
                f"leave open what a number means; write the same kind in every row"
            )


def shortened(value: Any) -> str:
    """Return a value as a message shows it, at most 40 characters."""
    text = repr(value) if isinstance(value, str | bytes | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
