"""What our code answers for the golden files of Fleet (ICTMCG/Fleet @ fab6b41)."""

from collections.abc import Callable, Mapping

from benchmarks.parity_peers_golden import Answer, Golden

ANSWERS: Mapping[str, Callable[[Golden], Answer]] = {}
