"""Student's distribution: its quantiles, and the p-value of a mean with its standard error.

``scipy.special`` holds what ``scipy.stats`` computes with and loads in a quarter of the time.
"""


def quantile(probability: float, freedom: int) -> float:
    """Return the value that Student's variable of so many degrees of freedom stays under with a probability.

    >>> round(quantile(0.975, 9), 4)
    2.2622
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def two_sided(mean: float, error: float, freedom: int) -> float:
    """Return the p-value of "no difference" for a mean difference with its standard error.

    >>> round(two_sided(2.2622, 1.0, 9), 4)
    0.05
    """
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(mean) / error))
