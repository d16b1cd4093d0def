"""What our code answers for the golden file of OmniDFA (teheperinko541/OmniDFA @ 35b9052)."""

from collections.abc import Callable, Mapping

from benchmarks.parity_peers_golden import Answer, Golden

ANSWERS: Mapping[str, Callable[[Golden], Answer]] = {}
