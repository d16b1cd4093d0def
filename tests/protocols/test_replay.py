"""Replaying: a report says enough to be made again, and a changed store is noticed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.core.errors import OptionError, ReportError, StoreError
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.across_stores import adapt_across, adapt_and_save
from fewshot.protocols.replay import replay
from fewshot.results.report import Report
from tests.protocols.toy_store import toy_layer, toy_logit, toy_samples, toy_store


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shots": (2, 5), "head": "svm,knn", "layer": "support-cv,oracle", "backbone": "net"},
        {"draw": "fiser", "tpr": "nearest", "head": "knn", "k": "oracle", "per": "source", "shots": 2},
        {"draw": "kcenter", "backbone": "net"},
        {"support": (("0000.png", "0001.png"), ("0002.png", "0003.png")), "shots": 1},
        {"where": {"source": "photos,sd15"}, "stratified": True},
    ],
)
def test_report_comes_out_again(tmp_path: Path, options: dict[str, Any]) -> None:
    path = toy_store(tmp_path / "toy.h5")
    adapt_and_save([path], out=tmp_path / "r.json", trials=2, **options)
    found = replay(Report.load(tmp_path / "r.json"))
    assert found.equal, str(found)


def test_several_stores_come_out_again(tmp_path: Path) -> None:
    samples = toy_samples(80)
    samples["id"] = ["other " + value for value in samples["id"]]
    stores = [toy_store(tmp_path / "one.h5"), toy_store(tmp_path / "two.h5", samples=samples)]
    report = adapt_across(stores, cross=True, trials=2, shots=3, backbone="net").report
    assert replay(report).equal


def test_moved_store_is_named_and_a_changed_one_is_noticed(tmp_path: Path) -> None:
    path = toy_store(tmp_path / "toy.h5")
    report = adapt_and_save([path], out=tmp_path / "r.json", trials=2, backbone="net")
    path.rename(tmp_path / "moved.h5")
    with pytest.raises(StoreError, match="there is no store"):
        replay(report)
    assert replay(report, stores=[tmp_path / "moved.h5"]).changed == ()
    samples = toy_samples()
    write_store(path, samples, _stronger(samples))
    found = replay(report)
    assert found.changed == ("net/late",)
    assert not found.equal


def test_saved_supports_are_repeated_even_where_others_would_be_drawn(tmp_path: Path) -> None:
    path = toy_store(tmp_path / "toy.h5")
    report = adapt_and_save([path], out=tmp_path / "r.json", trials=2, backbone="net")
    drawn_with_another_seed = replace(report, config={**report.config, "seed": 7})
    found = replay(drawn_with_another_seed)
    assert found.equal, str(found)
    assert not found.supports_equal
    assert "the supports drawn today are NOT the saved ones" in str(found)


def _stronger(samples: pd.DataFrame) -> list[LayerData]:
    return [toy_layer(samples, "net", "late", signal=3.0, default=True), toy_logit(samples, "net", signal=0.5)]


def test_a_layer_that_is_gone_is_named(tmp_path: Path) -> None:
    path = toy_store(tmp_path / "toy.h5")
    report = adapt_and_save([path], out=tmp_path / "r.json", trials=2, backbone="net")
    samples = toy_samples()
    write_store(path, samples, [toy_layer(samples, "net", "early", signal=1.0, default=True)])
    with pytest.raises(StoreError, match=r"toy\.h5 has no layer 'net/late', which the report was made from"):
        replay(report)


def test_more_stores_than_the_report_reads_are_refused(tmp_path: Path) -> None:
    path = toy_store(tmp_path / "toy.h5")
    report = adapt_and_save([path], out=tmp_path / "r.json", trials=2, backbone="net")
    with pytest.raises(OptionError, match="2 stores are given, and the report reads 1"):
        replay(report, stores=[path, path])


def test_a_report_of_no_installed_protocol_is_refused() -> None:
    with pytest.raises(ReportError, match="cannot be replayed: there is no protocol 'nearst'; did you mean 'nearest'"):
        replay(Report("nearst", {}, ()))


def test_a_report_that_names_no_store_is_refused() -> None:
    with pytest.raises(ReportError, match="does not say which stores"):
        replay(Report("nearest", {}, ()))


def test_command_says_equal_and_exits_by_it(tmp_path: Path) -> None:
    path = toy_store(tmp_path / "toy.h5")
    adapt_and_save([path], out=tmp_path / "r.json", trials=2, backbone="net")
    result = CliRunner().invoke(group, ["replay", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("equal:")
    samples = toy_samples()
    write_store(path, samples, _stronger(samples))
    result = CliRunner().invoke(group, ["replay", str(tmp_path / "r.json"), "--json"])
    assert result.exit_code == 1
    assert '"equal": false' in result.stdout
