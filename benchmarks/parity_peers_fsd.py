"""What our code answers for the golden files of FSD (teheperinko541/Few-Shot-AIGI-Detector @ 39ed162)."""

from collections.abc import Callable, Mapping

from benchmarks.parity_peers_golden import Answer, Golden

ANSWERS: Mapping[str, Callable[[Golden], Answer]] = {}
