"""Student's quantiles and p-values against scipy.stats."""

import numpy as np
import pytest
from scipy import stats

from fewshot.stats import student


@pytest.mark.parametrize("freedom", [1, 2, 9, 99, 4999])
def test_quantiles_and_p_values_are_those_of_scipy_stats(freedom: int) -> None:
    for probability in (0.5, 0.9, 0.975, 0.995):
        assert student.quantile(probability, freedom) == stats.t.ppf(probability, freedom)
    for mean in (-3.0, -0.1, 0.0, 0.5, 12.0):
        assert student.two_sided(mean, 0.7, freedom) == 2 * stats.t.sf(abs(mean) / 0.7, freedom)


def test_a_difference_without_error_is_certain_and_none_is_nothing() -> None:
    assert student.two_sided(0.1, 0.0, 9) == 0.0
    assert student.two_sided(0.0, 0.0, 9) == 1.0
    assert np.isnan(student.two_sided(float("nan"), 1.0, 9))
