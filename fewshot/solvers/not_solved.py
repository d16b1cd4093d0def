"""What a solver raises that does not reach its tolerance; apart from the solvers, which load torch."""


class NotSolvedError(ArithmeticError):
    """A dual problem did not reach its tolerance."""
