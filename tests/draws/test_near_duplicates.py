"""The searches for equal pixels and near hashes against every pair compared one by one."""

from itertools import combinations

import numpy as np
import pytest

from fewshot.draws.near_duplicates import equal_any, equal_pairs, near_any, near_pairs


def flipped(words: np.ndarray, bits: int, generator: np.random.Generator) -> np.ndarray:
    """Return the words with so many distinct bits turned over each."""
    turned = words.copy()
    for row in range(len(words)):
        for bit in generator.permutation(64)[:bits]:
            turned[row] ^= np.uint64(1 << int(bit))
    return turned


@pytest.fixture(params=["bands", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Search by bands, or compare with every hash seen, whatever their number."""
    monkeypatch.setattr("fewshot.draws.near_duplicates._FEW", 0 if request.param == "bands" else 1 << 30)
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("bits", [0, 1, 4, 7])
def test_near_hashes_are_those_that_brute_force_finds(bits: int) -> None:
    generator = np.random.default_rng(bits)
    seen = generator.integers(1, 1 << 63, 300).astype(np.uint64)
    hashes = np.concatenate([flipped(seen[:50], turned, generator) for turned in range(9)])

    found = near_any(hashes, seen, bits=bits)

    assert found.tolist() == [min((int(h) ^ int(s)).bit_count() for s in seen) <= bits for h in hashes]
    assert found.sum() >= 50 * (bits + 1)


@pytest.mark.usefixtures("way")
def test_pictures_of_one_hash_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.draws.near_duplicates._PAIRS_AT_ONCE", 7)
    seen = np.uint64(1 << 40) + np.arange(20, dtype=np.uint64)
    assert near_any(np.full(5, seen[3]), seen, bits=1).all()


@pytest.mark.parametrize("at_once", [5, 1 << 22])
@pytest.mark.parametrize("bits", [0, 2, 4, 7])
def test_near_pairs_are_those_that_brute_force_finds_each_once(
    bits: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewshot.draws.near_duplicates._PAIRS_AT_ONCE", at_once)
    generator = np.random.default_rng(bits)
    base = generator.integers(1, 1 << 63, 30).astype(np.uint64)
    hashes = np.concatenate([base, *(flipped(base[:8], turned, generator) for turned in range(9)), np.zeros(3, "u8")])

    found = near_pairs(hashes, bits=bits)

    wanted = [
        (a, b, (int(hashes[a]) ^ int(hashes[b])).bit_count())
        for a, b in combinations(range(len(base) + 72), 2)
        if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= bits
    ]
    assert list(zip(found.first, found.second, found.bits, strict=True)) == wanted
    assert len(wanted) >= 8 * (bits + 1)


def test_equal_pixels_are_those_of_a_known_id() -> None:
    ids = np.array(["a", "b", "", "a", "c", "", "a"], dtype=object)
    assert equal_any(ids, ["a", "c", ""]).tolist() == [True, False, False, True, True, False, True]
    pairs = equal_pairs(ids)
    assert list(zip(pairs.first, pairs.second, pairs.bits, strict=True)) == [(0, 3, 0), (0, 6, 0)]
    assert len(equal_pairs(ids[:3])) == 0


@pytest.mark.usefixtures("way")
def test_unknown_hashes_are_near_nothing() -> None:
    zero, one = np.zeros(1, np.uint64), np.ones(1, np.uint64)
    assert not near_any(zero, zero, bits=4).any()
    assert not near_any(zero, one, bits=4).any()
    assert not near_any(one, zero, bits=4).any()
    assert len(near_pairs(np.zeros(3, np.uint64))) == 0
