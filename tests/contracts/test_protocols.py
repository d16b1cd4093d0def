"""The contract that every protocol of the registry keeps, built-in or from another package."""

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.embeddings.store.reader import FeatureStore
from fewshot.protocols.base import PROTOCOLS, Protocol, Result, RunContext
from fewshot.protocols.replay import replay
from fewshot.results.report import Report
from tests.contracts.protocol_store import protocol_store

# Few draws and few steps.
QUICK: dict[str, dict[str, Any]] = {
    "fiser": {"shots": (2, 4), "trials": 2, "layer": ("fixed", "oracle")},
    "nearest": {"shots": (1, 5), "trials": 2},
    "robustness": {"shots": 3, "trials": 2, "view": ("jpeg:75",)},
    "attribution": {
        "fractions": (0.5,),
        "trials": 2,
        "recipe": {"steps": 3, "widths": (8,), "latent": 2},
        "families": {"gan": "gans"},
    },
}


@pytest.fixture(scope="module", params=PROTOCOLS.names())
def protocol(request: pytest.FixtureRequest) -> Protocol:
    found: Protocol = PROTOCOLS.load(request.param)(**QUICK.get(request.param, {}))
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return protocol_store(tmp_path_factory.mktemp("protocols") / "store.h5")


@pytest.fixture(scope="module")
def result(protocol: Protocol, store: FeatureStore) -> Result:
    return protocol.run(store, RunContext(keep_scores=True))


@pytest.fixture
def saved(result: Result, tmp_path: Path) -> Report:
    return Report.load(result.report.save(tmp_path / "report.json"))


def test_it_is_a_frozen_dataclass_that_stands_under_its_own_name(protocol: Protocol) -> None:
    assert is_dataclass(protocol)
    assert PROTOCOLS.load(protocol.name) is type(protocol)
    with pytest.raises(FrozenInstanceError):
        setattr(protocol, fields(protocol)[0].name, None)


def test_its_configuration_survives_json(protocol: Protocol) -> None:
    assert type(protocol).from_config(json.loads(json.dumps(protocol.to_config()))) == protocol


def test_what_is_not_a_field_is_passed_over(protocol: Protocol) -> None:
    assert type(protocol).from_config({**protocol.to_config(), "written_by_a_later_version": 1}) == protocol


def test_a_run_is_named_after_the_protocol_and_says_what_it_read(
    protocol: Protocol, store: FeatureStore, result: Result
) -> None:
    assert result.report.protocol == protocol.name
    assert result.report.rows
    assert {item.name for item in fields(protocol)} <= set(result.report.config)
    (read,) = result.report.config["stores"]
    assert read["path"] == str(store.path)
    assert read["layers"]["net/pooled"] == store.info("net", "pooled").digest


def test_two_runs_give_the_same(protocol: Protocol, store: FeatureStore, result: Result) -> None:
    again = protocol.run(store)
    assert again.report.compare(result.report).equal
    assert again.report.supports == result.report.supports
    assert again.report.warnings == result.report.warnings


def test_scores_are_returned_only_where_they_are_wanted(
    protocol: Protocol, store: FeatureStore, result: Result
) -> None:
    assert protocol.run(store).scores is None
    assert result.scores
    assert all(isinstance(values, np.ndarray) for values in result.scores.values())


def test_report_and_scores_are_saved_side_by_side(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "r.json")
    assert Report.load(tmp_path / "r.json").rows == result.report.rows
    with np.load(tmp_path / "r.npz", allow_pickle=False) as kept:
        assert set(kept.files) == set(result.scores or {})


def test_it_writes_nothing_but_into_its_cache(
    protocol: Protocol, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = _files(store.path.parent)
    protocol.run(store)
    assert _files(store.path.parent) == before
    assert not list(tmp_path.iterdir())


def test_a_cache_changes_no_number(protocol: Protocol, store: FeatureStore, result: Result, tmp_path: Path) -> None:
    context = RunContext(cache=tmp_path / "cache")
    for _ in range(2):
        assert protocol.run(store, context).report.compare(result.report).equal


def test_a_saved_report_comes_out_again(saved: Report) -> None:
    found = replay(saved)
    assert found.equal, str(found)
    assert found.supports_equal


def test_a_report_of_a_store_that_moved_comes_out_again(saved: Report, tmp_path: Path) -> None:
    moved = protocol_store(tmp_path / "moved.h5")
    assert replay(saved, stores=[moved.path]).equal


def test_a_changed_store_is_noticed_and_the_layer_named(saved: Report, tmp_path: Path) -> None:
    changed = protocol_store(tmp_path / "changed.h5", shift=3.0)
    found = replay(saved, stores=[changed.path])
    assert "net/pooled" in found.changed
    assert not found.equal
    assert "changed since: net/" in str(found)


@pytest.mark.parametrize("change", ["value", "n_query", "interval"])
def test_a_tampered_number_is_found(saved: Report, change: str) -> None:
    row, *others = saved.rows
    tampered = {
        "value": replace(row, values=(row.values[0] + 1e-3, *row.values[1:])),
        "n_query": replace(row, n_query=row.n_query + 1),
        "interval": replace(row, interval=(0.1, 0.2)),
    }
    found = replay(replace(saved, rows=(tampered[change], *others)))
    assert not found.equal
    assert found.difference.where == row.key


def test_tampered_supports_are_found(saved: Report) -> None:
    first, *others = saved.supports.items()
    supports = dict([(first[0], _other(first[1])), *others])
    found = replay(replace(saved, supports=supports))
    assert not found.supports_equal
    assert "NOT the saved ones" in str(found)


def _other(support: Any) -> Any:
    """Return another support of the same shape: its images in another order, or another digest."""
    return support[::-1] if isinstance(support, list) else {**support, "support": "0" * 64}


def _files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
