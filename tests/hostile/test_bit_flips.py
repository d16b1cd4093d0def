"""One flipped bit in a store, an index file or unfinished work is found, or it changes nothing that anybody reads."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fewshot.core.errors import FewshotError, StoreError
from fewshot.core.files import file_sha256
from fewshot.embeddings.pipeline.ledger import PartsFolder
from fewshot.embeddings.pipeline.ledger_file import Entry, write_entries
from fewshot.embeddings.search.files import description_path
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.verify import verify
from tests.hostile.small_store import ROWS, everything, write_small_store

UNIT = "0123456789abcdef01234567.h5"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("sound") / "a.h5")


def metadata_bytes(path: Path) -> list[int]:
    """The places of a store that hold no values."""
    outside = np.ones(path.stat().st_size, bool)

    def leave_out(_: str, item: Any) -> None:
        for number in range(item.id.get_num_chunks() if isinstance(item, h5py.Dataset) else 0):
            chunk = item.id.get_chunk_info(number)
            outside[chunk.byte_offset : chunk.byte_offset + chunk.size] = False

    with h5py.File(path) as file:
        file.visititems(leave_out)
    return np.flatnonzero(outside).tolist()


def flipped(content: bytes, places: list[int], *, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        damaged[rng.choice(places)] ^= 1 << rng.randrange(8)
        yield bytes(damaged)


def changed_or_refused(sound: Any, read: Callable[[], Any]) -> tuple[int, int]:
    """Return (1, 0) when what was read differs, (0, 1) when it was refused by a sentence."""
    try:
        return int(read() != sound), 0
    except FewshotError:
        return 0, 1


def found_by_verify(path: Path) -> bool:
    """Whether ``verify`` lists a problem, or refuses the store by a sentence."""
    try:
        return not verify(path).sound
    except StoreError:
        return True


def require_found_or_harmless(original: Path, folder: Path, *, only_metadata: bool, count: int, seed: int) -> None:
    content = original.read_bytes()
    places = metadata_bytes(original) if only_metadata else list(range(len(content)))
    sound, refused, case = everything(original), 0, folder / "a.h5"
    for number, damaged in enumerate(flipped(content, places, count=count, seed=seed)):
        case.write_bytes(damaged)
        changed, one = changed_or_refused(sound, lambda: everything(case))
        assert not changed
        refused += one
        assert one <= (found_by_verify(case) if one or number % 4 == 0 else 0)
    assert 0 < refused < count


@pytest.mark.parametrize("only_metadata", [False, True])
def test_no_flipped_bit_of_some_in_a_store_changes_anything_silently(
    store: Path, tmp_path: Path, only_metadata: bool
) -> None:
    require_found_or_harmless(store, tmp_path, only_metadata=only_metadata, count=30, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("only_metadata", "count"), [(False, 600), (True, 300)])
def test_no_flipped_bit_in_a_store_changes_anything_silently(
    store: Path, tmp_path: Path, only_metadata: bool, count: int
) -> None:
    require_found_or_harmless(store, tmp_path, only_metadata=only_metadata, count=count, seed=2)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("part", ["index", "description"])
def test_no_flipped_bit_in_an_index_file_changes_an_answer_silently(
    store: Path, tmp_path: Path, kind: str, part: str
) -> None:
    path = tmp_path / "a.faiss"
    index = SourceIndex(store, backbone="npr", layer="pooled", index=kind, where={"source": "camera"}, device="cpu")
    index.save(path)
    queries = index.features(np.arange(6))

    def answers() -> list[Any]:
        loaded = SourceIndex.load(store, path, device="cpu")
        found = loaded.nearest(queries, 3)
        return [found.rows.tolist(), found.scores.tolist(), str(loaded.choice), len(loaded)]

    target = path if part == "index" else description_path(path)
    content, sound, refused = target.read_bytes(), answers(), 0
    for damaged in flipped(content, list(range(len(content))), count=80, seed=3):
        target.write_bytes(damaged)
        changed, one = changed_or_refused(sound, answers)
        assert not changed
        refused += one
    assert refused >= 70


@pytest.fixture
def parts(tmp_path: Path) -> PartsFolder:
    """One finished unit of an unfinished run, as ``embed`` leaves it when it is killed."""
    folder = PartsFolder(tmp_path / "run.h5")
    with folder.locked():
        folder.keep_sample_list([(f"{row}.png", "camera", False) for row in range(ROWS)])
        write_small_store(folder.folder / UNIT)
        sha256 = file_sha256(folder.folder / UNIT)
        part = Entry(UNIT, sha256, ROWS, 1, [("npr", "clean", ("pooled", "block"), "f" * 32)], [(0, ROWS)])
        write_entries(folder.folder / "ledger.json", [part])
    return folder


@pytest.mark.parametrize("name", ["ledger.json", "samples.jsonl", UNIT])
def test_a_flipped_bit_in_unfinished_work_is_found(parts: PartsFolder, name: str) -> None:
    def seen() -> Any:
        fresh = PartsFolder(parts.store)
        sound, damaged = fresh.sound_parts()
        return fresh.sample_list(), [] if damaged else sound

    path = parts.folder / name
    content, sound, remade = path.read_bytes(), seen(), 0
    assert len(sound[1]) == 1
    for damaged in flipped(content, list(range(len(content))), count=100, seed=4):
        path.write_bytes(damaged)
        try:
            samples, used = seen()
        except StoreError:
            continue
        assert samples == sound[0]
        assert used in ([], sound[1])
        remade += not used
    assert remade == (100 if name == UNIT else 0)
