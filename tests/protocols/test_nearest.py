"""The nearest-source experiment against plain loops, and by simulation."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fewshot.core.errors import EpisodeError, OptionError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.base import PROTOCOLS
from fewshot.protocols.nearest import Nearest


def store_of(folder: Path, features: np.ndarray, sources: list[str], **columns: list[str]) -> FeatureStore:
    frame = pd.DataFrame(
        {
            "key": [f"{row}.png" for row in range(len(sources))],
            "id": [f"pixels-{row}" for row in range(len(sources))],
            "source": sources,
            "synthetic": [name != "camera" for name in sources],
            **columns,
        }
    )
    write_store(folder / "a.h5", frame, [LayerData("net", "pooled", features.astype(np.float32), default=True)])
    return FeatureStore(folder / "a.h5")


def clusters(images: int, spread: float, *, sources: int = 4, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    names = [("camera", "gan", "ldm", "sd3", "flux", "dit")[number] for number in range(sources) for _ in range(images)]
    centres = generator.normal(size=(sources, 8))
    return np.repeat(centres, images, axis=0) + spread * generator.normal(size=(sources * images, 8)), names


def plain_answer(features: np.ndarray, sources: np.ndarray, query: np.ndarray, k: int, counts: dict[str, int]) -> str:
    """The vote written as loops over lists, independent of the package."""
    scores = [-float(np.sqrt(((row.astype(np.float32).astype(float) - query) ** 2).sum())) for row in features]
    near = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]
    first, last = scores[near[0]], scores[near[-1]]
    shares: dict[str, float] = {}
    for row in near:
        weight = 1.0 if first == last else 1 - 0.5 * (first - scores[row]) / (first - last)
        shares[sources[row]] = shares.get(sources[row], 0.0) + weight / counts[sources[row]]
    return max(shares, key=shares.__getitem__)


def test_leave_one_out_accuracy_is_that_of_plain_loops(tmp_path: Path) -> None:
    features, names = clusters(25, 1.0)
    store, sources = store_of(tmp_path, features, names), np.array(names)
    report = Nearest(metric="l2", shots=(1,), trials=2).run(store).report
    rounded = features.astype(np.float32).astype(float)
    counts = dict(Counter(names))
    right = 0
    for row in range(100):
        kept = np.delete(np.arange(100), row)
        right += plain_answer(rounded[kept], sources[kept], rounded[row], 5, counts) == names[row]
    (found,) = report.where(metric="source_accuracy", source="all")
    assert found.values == (right / 100,)
    assert 0.4 < right / 100 < 1


def test_attribution_from_a_few_images_is_that_of_an_index_rebuilt_with_them(tmp_path: Path) -> None:
    features, names = clusters(25, 0.8)
    store, sources = store_of(tmp_path, features, names), np.array(names)
    report = Nearest(metric="l2", shots=(1, 5), trials=3).run(store).report
    rounded = features.astype(np.float32).astype(float)
    (found,) = report.where(metric="new_source_recall", source="ldm", shots=5)
    (false,) = report.where(metric="new_source_false_rate", source="ldm", shots=5)
    for trial in range(3):
        drawn = [int(key.removesuffix(".png")) for key in report.supports[f"ldm:{trial}"]][:5]
        bank = np.concatenate([np.flatnonzero(sources != "ldm"), drawn])
        counts = {**Counter(names), "ldm": 5}

        def answer(row: int, bank: np.ndarray = bank, counts: dict[str, int] = counts) -> str:
            rows = bank[bank != row]
            return plain_answer(rounded[rows], sources[rows], rounded[row], 5, counts)

        own = [row for row in np.flatnonzero(sources == "ldm").tolist() if row not in drawn]
        others = np.flatnonzero(sources != "ldm").tolist()
        assert found.values[trial] == pytest.approx(np.mean([answer(row) == "ldm" for row in own]))
        assert false.values[trial] == pytest.approx(np.mean([answer(row) == "ldm" for row in others]))


def test_more_images_of_a_new_source_find_more_of_it(tmp_path: Path) -> None:
    report = Nearest(metric="l2", shots=(1, 10), trials=10).run(store_of(tmp_path, *clusters(40, 0.7))).report
    (one,), (ten,) = (report.where(metric="new_source_recall", source="macro", shots=shots) for shots in (1, 10))
    assert np.mean(ten.values) > np.mean(one.values) + 0.1


def test_separate_sources_are_right_known_and_told_from_strangers(tmp_path: Path) -> None:
    report = Nearest(metric="l2", shots=(5,), trials=5).run(store_of(tmp_path, *clusters(40, 0.05))).report
    values = {(row.source, row.metric): np.mean(row.values) for row in report.rows}
    assert values[("all", "source_accuracy")] == 1
    assert values[("all", "homophily")] == 1
    assert values[("macro", "new_source_recall")] > 0.99
    assert values[("macro", "unknown_auroc")] > 0.99
    assert values[("macro", "open_set_rate")] > 0.99
    assert values[("macro", "unknown_rate")] > 0.99


def test_the_false_unknown_rate_of_exchangeable_sources_stays_within_its_binomial_band(tmp_path: Path) -> None:
    """Many small sources drawn alike; calibrated on one half of the known images, measured on the other."""
    generator = np.random.default_rng(9)
    names = [f"source-{number:02}" for number in range(30) for _ in range(15)]
    features = np.repeat(3 * generator.normal(size=(30, 4)), 15, axis=0) + generator.normal(size=(450, 4))
    report = Nearest(metric="l2", shots=(1,), trials=4, rate=0.1).run(store_of(tmp_path, features, names)).report
    (found,) = report.where(metric="false_unknown_rate", source="macro")
    calibrated, measured = 217, 218  # halves of the 435 known images
    stated = np.floor(0.1 * (calibrated + 1)) / (calibrated + 1)
    band = 3 * np.sqrt(stated * (1 - stated) * (1 / calibrated + 1 / measured))
    assert all(abs(value - stated) < band for value in found.values)


def test_images_of_one_group_give_each_other_no_answer(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    pictures = generator.normal(size=(30, 6))
    features = np.concatenate([pictures, pictures + 1e-3])  # every picture twice, of two sources
    names = ["camera"] * 30 + ["gan"] * 30
    store = store_of(tmp_path, features, names, prompt=[str(number) for number in range(30)] * 2)
    free = Nearest(metric="l2", k=1, shots=(1,), trials=1).run(store).report
    grouped = Nearest(metric="l2", k=1, shots=(1,), trials=1, group="prompt").run(store).report
    (fooled,), (fair,) = (report.where(metric="source_accuracy", source="all") for report in (free, grouped))
    assert fooled.values == (0.0,)
    assert 0.2 < fair.values[0] < 0.8
    assert any("two sources only" in warning for warning in free.warnings)


def test_the_report_says_which_sources_are_too_small_and_keeps_its_configuration(tmp_path: Path) -> None:
    features, names = clusters(40, 0.3, sources=3)
    store = store_of(tmp_path, features[:95], names[:95])
    report = Nearest(shots=(1, 10), trials=2).run(store).report
    assert "ldm has 15 images: as a new source it is tried with 1 shots only" in report.warnings
    again = PROTOCOLS.load(report.protocol).from_config(report.config).run(store).report
    assert again.compare(report).equal


def test_stores_that_cannot_be_judged_are_refused(tmp_path: Path) -> None:
    features, names = clusters(9, 0.3)
    store = store_of(tmp_path, features, names)
    with pytest.raises(EpisodeError, match="at least two sources, and there is camera"):
        Nearest(where={"source": "camera"}).run(store)
    with pytest.raises(EpisodeError, match=r"no source of .* has 11 images"):
        Nearest().run(store)
    with pytest.raises(OptionError, match="not 2"):
        Nearest(rate=2).run(store)
