"""Rows are checked where they enter: finite, and with a direction when one is asked for."""

import numpy as np
import pytest

from fewshot.core.arrays import require_finite, unit_rows
from fewshot.core.errors import InputError


def test_unit_rows_equal_a_row_by_row_division() -> None:
    features = np.array([[3.0, 4.0], [0.0, -2.0]])

    assert unit_rows(features, what="rows").tolist() == [[np.float32(0.6), np.float32(0.8)], [0.0, -1.0]]


def test_a_zero_row_has_no_direction_and_the_message_names_it() -> None:
    with pytest.raises(InputError, match="layer 'x': row 1 is a zero vector"):
        unit_rows(np.array([[1.0, 0.0], [0.0, 0.0]]), what="layer 'x'")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_names_its_row(bad: float) -> None:
    features = np.ones((4, 3))
    features[2, 1] = bad

    with pytest.raises(InputError, match=r"backbone 'npr': row 2 holds NaN or infinite values \(1 such rows of 4\)"):
        require_finite(features, what="backbone 'npr'")
