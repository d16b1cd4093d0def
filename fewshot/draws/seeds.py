"""The seed that draws follow from."""

from fewshot.core.errors import OptionError


def require_seed(seed: int) -> None:
    """Raise unless a seed is 0 or more, as generators of random numbers take it.

    Raises:
        OptionError: it is negative.
    """
    if seed < 0:
        raise OptionError(f"--seed must be 0 or more, and is {seed}")
