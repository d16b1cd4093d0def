"""Images that are held back for heads that replay an old domain."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fewshot
from fewshot.core.errors import InputError
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.heads.route import Route
from fewshot.protocols import fiser
from fewshot.protocols.trials.replay_images import load_pool_beside_replay

SOURCES = {"camera": 30, "new": 30, "old-camera": 20, "old": 20}
QUICK: dict[str, Any] = {
    "width": 8, "segments": 2, "hidden": 8, "embedding": 4, "epochs": 2, "pretraining_steps": 10,
}  # fmt: skip
OLD = {"source": "old,old-camera"}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    generator = np.random.default_rng(0)
    sources = np.repeat(list(SOURCES), list(SOURCES.values()))
    synthetic = np.isin(sources, ["new", "old"])
    samples = pd.DataFrame(
        {
            "key": [f"{row:03d}.png" for row in range(100)],
            "id": [f"pixels of {row}" for row in range(100)],
            "source": sources,
            "synthetic": synthetic,
            "group": [f"g{row % 70}" for row in range(100)],  # the last thirty repeat the first
        }
    )
    features = (generator.normal(size=(100, 6)) + 2 * synthetic[:, None]).astype(np.float32)
    write_store(tmp_path / "store.h5", samples, [LayerData("net", "pooled", features, default=True)])
    return FeatureStore(tmp_path / "store.h5")


def pool_of(store: FeatureStore, **options: Any) -> Any:
    return load_pool_beside_replay(store, **{"backbones": ["net"], "where": {}, "replay_where": OLD, **options})


def test_what_is_replayed_is_neither_drawn_nor_queried(store: FeatureStore) -> None:
    pool = pool_of(store)

    assert set(pool.images.source) == {"camera", "new"}
    assert set(store.source[pool.replay]) == {"old", "old-camera"}
    assert len(pool.replay) == 40


def test_images_of_a_group_that_takes_part_are_not_replayed(store: FeatureStore) -> None:
    with pytest.raises(InputError, match=r"of the 40 images of --replay-where, 10 share no group .* of both classes"):
        pool_of(store, group="group")
    pool = pool_of(
        store, group="group", where={"source": "new,old-camera,camera"}, replay_where={"source": "old,camera"}
    )

    assert not set(store.column("group")[pool.replay]) & set(pool.images.group)
    assert any("images of --replay-where are left out" in warning for warning in pool.warnings)


def test_nothing_is_held_back_without_the_option(store: FeatureStore) -> None:
    pool = pool_of(store, replay_where={})

    assert pool.replay is None
    assert len(pool.images) == 100


def test_the_head_route_is_given_what_is_replayed(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(fiser, "_head", lambda name, protocol: Route(**QUICK))

    def note(head: Route, rows: Any, synthetic: Any) -> Route:
        given.append((rows, synthetic))
        return head.unfitted()

    monkeypatch.setattr(Route, "with_replay", note)
    report = fewshot.adapt(store, head="route", shots=3, trials=2, replay_where=OLD)

    ((rows, synthetic),) = given
    assert rows.shape == (40, 6)
    assert synthetic.sum() == 20
    assert not any("replayed its own support" in warning for warning in report.warnings)
    assert dict(report.config["replay_where"]) == OLD


def test_a_run_with_nothing_to_replay_says_so_and_replay_without_a_head_is_recorded(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = fewshot.adapt(store, head="svm", shots=3, trials=2, replay_where=OLD, start="x.safetensors")
    applied = {one["option"]: one["why"] for one in report.config["applied"]}
    assert applied["--replay-where"] == "no head that is fitted replays images"
    assert applied["--start"] == "it is of the head route, which is not fitted"

    monkeypatch.setattr(fiser, "_head", lambda name, protocol: Route(**QUICK))
    report = fewshot.adapt(store, head="route", shots=3, trials=2)
    assert any("the head route replayed its own support; name images" in warning for warning in report.warnings)
