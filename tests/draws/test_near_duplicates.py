"""The range search over perceptual hashes against every pair compared one by one."""

import numpy as np
import pytest

from fewshot.draws.near_duplicates import near_any


def flipped(words: np.ndarray, bits: int, generator: np.random.Generator) -> np.ndarray:
    """Return the words with so many distinct bits turned over each."""
    turned = words.copy()
    for row in range(len(words)):
        for bit in generator.permutation(64)[:bits]:
            turned[row] ^= np.uint64(1 << int(bit))
    return turned


@pytest.mark.parametrize("bits", [0, 1, 4, 7])
def test_near_hashes_are_those_that_brute_force_finds(bits: int) -> None:
    generator = np.random.default_rng(bits)
    seen = generator.integers(1, 1 << 63, 300).astype(np.uint64)
    hashes = np.concatenate([flipped(seen[:50], turned, generator) for turned in range(9)])

    found = near_any(hashes, seen, bits=bits)

    assert found.tolist() == [min((int(h) ^ int(s)).bit_count() for s in seen) <= bits for h in hashes]
    assert found.sum() >= 50 * (bits + 1)


def test_pictures_of_one_hash_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.draws.near_duplicates._PAIRS_AT_ONCE", 7)
    seen = np.uint64(1 << 40) + np.arange(20, dtype=np.uint64)
    assert near_any(np.full(5, seen[3]), seen, bits=1).all()


def test_unknown_hashes_are_near_nothing() -> None:
    zero, one = np.zeros(1, np.uint64), np.ones(1, np.uint64)
    assert not near_any(zero, zero, bits=4).any()
    assert not near_any(zero, one, bits=4).any()
    assert not near_any(one, zero, bits=4).any()
