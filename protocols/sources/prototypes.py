"""Attribution by prototypes: every source is the mean of a few images, and a query is given to the nearest mean.

OmniDFA's N-way K-shot rule (Wu et al., arXiv 2509.25682; teheperinko541/OmniDFA @ 35b9052, model/engine_val.py).
"""

import numpy as np

from fewshot.core.arrays import Float64Array, FloatArray, IntArray
from fewshot.protocols.trials.source_measures import ClosedSet


def prototype_answers(support: FloatArray, query: FloatArray) -> IntArray:
    """Return the number of the source that every query is given to.

    A prototype is the mean of a source's images, each of unit length, itself brought to unit length; the answer is the
    largest cosine, the first among equals.

    Args:
        support: (W, S, D) floating: S images of each of W sources.
        query: (W, Q, D) floating: Q other images of each.

    Returns:
        (W, Q) int64, from 0 to W - 1.
    """
    prototypes = _unit(_unit(support).mean(axis=1))
    return np.asarray(np.argmax(_unit(query) @ prototypes.T, axis=-1), dtype=np.int64)


def episode_measures(answers: IntArray) -> ClosedSet:
    """Return how well the sources of one episode are told apart.

    Args:
        answers: (W, Q) int64, row w being queries of source w.
    """
    ways, queries = answers.shape
    confusion = np.zeros((ways, ways), np.int64)
    np.add.at(confusion, (np.repeat(np.arange(ways), queries), answers.reshape(-1)), 1)
    return ClosedSet(tuple(map(str, range(ways))), confusion)


def _unit(rows: FloatArray) -> Float64Array:
    """Return rows divided by their length, in float64; a zero row stays zero."""
    exact = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
    return np.asarray(exact / np.where(lengths > 0, lengths, 1.0))
