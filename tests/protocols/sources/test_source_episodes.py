"""Attribution by prototypes: the rule against loops, and its episodes on stores made by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from fewshot.core.errors import OptionError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.nearest import Nearest
from fewshot.protocols.sources.prototypes import episode_measures, prototype_answers
from fewshot.results.report import Report


def by_loops(support: np.ndarray, query: np.ndarray) -> list[list[int]]:
    """The rule written as loops over lists, independent of the package."""
    prototypes = [np.mean([image / np.sqrt((image**2).sum()) for image in source], axis=0) for source in support]
    prototypes = [mean / np.sqrt((mean**2).sum()) for mean in prototypes]
    return [[int(np.argmax([image @ mean for mean in prototypes])) for image in source] for source in query]


def test_answers_and_measures_are_those_of_plain_loops() -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(4, 1, 6))
    # lengths differ, so that a mean of raw images is another prototype
    images = (centres + 1.5 * generator.normal(size=(4, 9, 6))) * generator.lognormal(sigma=2, size=(4, 9, 1))

    answers = prototype_answers(images[:, :5], images[:, 5:])
    measures = episode_measures(answers)

    assert answers.tolist() == by_loops(images[:, :5], images[:, 5:])
    truth = np.repeat(np.arange(4), 4)
    assert measures.accuracy == pytest.approx(accuracy_score(truth, answers.reshape(-1)))
    assert measures.macro_f1 == pytest.approx(f1_score(truth, answers.reshape(-1), average="macro"))
    assert 0.25 < measures.accuracy < 1


def store_of(folder: Path, counts: Sequence[int], *, spread: float, groups: int | None = None) -> FeatureStore:
    """``camera``, then one synthetic source per count, each a cluster; ``groups`` are shared between all sources."""
    names = ["camera", *(f"generator-{number}" for number in range(len(counts)))]
    images = [20, *counts]
    generator = np.random.default_rng(1)
    centres = np.repeat(generator.normal(size=(len(names), 8)), images, axis=0)
    sources = [name for name, count in zip(names, images, strict=True) for _ in range(count)]
    numbers = [number for count in images for number in range(count)]
    frame = pd.DataFrame(
        {
            "key": [f"{row}.png" for row in range(len(sources))],
            "id": [f"pixels-{row}" for row in range(len(sources))],
            "source": sources,
            "synthetic": [name != "camera" for name in sources],
            "prompt": [str(number % groups if groups else number) for number in numbers],
        }
    )
    features = (centres + spread * generator.normal(size=centres.shape)).astype(np.float32)
    write_store(folder / "a.h5", frame, [LayerData("net", "pooled", features, default=True)])
    return FeatureStore(folder / "a.h5")


def measured(report: Report, *, shots: int) -> np.ndarray:
    (row,) = report.where(metric="prototype_accuracy", shots=shots)
    return np.array(row.values)


def test_sources_apart_are_told_apart_and_equal_ones_by_chance(tmp_path: Path) -> None:
    for name in ("apart", "equal"):
        (tmp_path / name).mkdir()
    apart = Nearest(shots=(5,), trials=1, episodes=30).run(store_of(tmp_path / "apart", [40] * 6, spread=0.02)).report
    equal = Nearest(shots=(5,), trials=1, episodes=300).run(store_of(tmp_path / "equal", [40] * 6, spread=1e3)).report

    assert measured(apart, shots=5).mean() == 1
    of_chance = measured(equal, shots=5)
    assert abs(of_chance.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / (25 * 300)) + 0.02  # episodes share 240 images


def test_rows_say_ways_shots_and_queries_and_have_a_value_per_episode(tmp_path: Path) -> None:
    report = Nearest(shots=(2, 10), trials=1, episodes=12).run(store_of(tmp_path, [30] * 7, spread=1.0)).report

    rows = [row for row in report.rows if row.metric in ("prototype_accuracy", "prototype_macro_f1")]
    assert [(row.shots, row.metric, row.n_support, row.n_query) for row in rows] == [
        (shots, metric, 5 * shots, 25) for shots in (2, 10) for metric in ("prototype_accuracy", "prototype_macro_f1")
    ]
    assert {len(row.values) for row in rows} == {12}
    summary = rows[0].summary()
    assert summary.low < summary.mean < summary.high
    assert not any("--ways" in warning or "--episodes" in warning for warning in report.warnings)


def test_naturals_are_no_way_and_fewer_sources_are_fewer_ways(tmp_path: Path) -> None:
    report = Nearest(shots=(1, 10, 30), trials=1, episodes=5).run(store_of(tmp_path, [20, 16, 9], spread=1.0)).report

    ways = {row.shots: row.n_support / row.shots for row in report.where(metric="prototype_accuracy") if row.shots}
    assert ways == {1: 3, 10: 2}
    for said in (
        "--ways, 1 shots: 5 was given and 3 applied, for no more synthetic sources have so many images",
        "--ways, 10 shots: 5 was given and 2 applied",
        "--episodes, 30 shots: 5 was given and not applied, for that and 5 queries need two synthetic sources",
    ):
        assert any(said in warning for warning in report.warnings), said
    assert {one["option"] for one in report.config["applied"]} >= {"--ways, 1 shots", "--episodes, 30 shots"}


def test_copies_of_a_query_are_in_no_support(tmp_path: Path) -> None:
    """Pictures without any trace of their source, each there twice: only a copy in the support can give it away."""
    generator = np.random.default_rng(2)
    pictures = np.repeat(generator.normal(size=(3 * 15, 8)), 2, axis=0)
    frame = pd.DataFrame(
        {
            "key": [f"{row}.png" for row in range(90)],
            "id": [f"pixels-{row}" for row in range(90)],
            "source": np.repeat(["gan", "ldm", "flux"], 30),
            "synthetic": [True] * 90,
            "prompt": [str(row // 2) for row in range(90)],
        }
    )
    write_store(tmp_path / "a.h5", frame, [LayerData("net", "pooled", pictures.astype(np.float32), default=True)])
    store = FeatureStore(tmp_path / "a.h5")

    free, fair = (
        measured(Nearest(shots=(2,), trials=1, episodes=150, group=group).run(store).report, shots=2).mean()
        for group in (None, "prompt")
    )

    assert free > fair + 0.03
    assert abs(fair - 1 / 3) < 0.06


def test_episodes_that_groups_leave_too_few_images_for_are_counted(tmp_path: Path) -> None:
    store = store_of(tmp_path, [12] * 3, spread=1.0, groups=6)

    report = Nearest(shots=(1,), trials=1, episodes=20, group="prompt").run(store).report

    drawn = len(measured(report, shots=1))
    assert drawn < 20
    said = f"--episodes, 1 shots: 20 was given and {drawn} applied, for the others lack images outside the groups"
    assert any(said in warning for warning in report.warnings)


def test_the_same_seed_draws_the_same_episodes_and_another_draws_others(tmp_path: Path) -> None:
    store = store_of(tmp_path, [30] * 6, spread=1.0)
    first, again, other = (
        measured(Nearest(shots=(3,), trials=1, episodes=20, seed=seed).run(store).report, shots=3) for seed in (4, 4, 5)
    )

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_reports_from_before_there_were_episodes_have_none() -> None:
    assert Nearest.from_config({"k": 3}).episodes == 0
    assert Nearest.from_config(Nearest(episodes=7).to_config()).episodes == 7


@pytest.mark.parametrize(("wrong", "said"), [({"ways": 1}, "--ways must be at least 2"), ({"queries": 0}, "queries")])
def test_settings_without_sense_are_refused(wrong: dict[str, int], said: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=said):
        Nearest(**wrong).run(store_of(tmp_path, [20, 20], spread=1.0))  # type: ignore[arg-type]  # fields by name
