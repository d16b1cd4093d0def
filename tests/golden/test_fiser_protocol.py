"""Our protocol under FiSeR's draw against the numbers of FiSeR's own evaluator on the same archive."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewshot.embeddings.store.fiser_archive import import_archive
from fewshot.protocols.fiser import adapt
from fewshot.results.report import Report

HEADS = {"linear": "logistic"}
METRICS = {"auroc": "auroc", "average_precision": "average_precision", "tpr_at_fpr": "tpr_at_5_fpr"}
SEEDS = (42, 43, 44, 45, 46)
# The golden numbers were made with BLAS kernels for AVX2: with others, two float32 scores that differ in the last bit
# may fall into a tie or out of it, which moves one average precision of logistic regression by 2e-6.
PROGRAM = """
import json, sys
from fewshot.cli import group
for line in json.load(sys.stdin):
    if group.main(line, standalone_mode=False):
        sys.exit(f"failed: {line}")
"""
KERNELS = {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def golden(shared: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((shared / "golden" / "fiser_protocol.json").read_text())
    return entries


@pytest.fixture(scope="module")
def store(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "fiser.h5"
    import_archive(shared / "golden" / "fiser_protocol.pt", path, backbone="seeded")
    return path


_SETTINGS = [
    (head, rule, per, shots)
    for head, rule in (("svm", None), ("linear", None), ("prototype", None), ("knn", "legacy"), ("knn", "exponential"))
    for per, shots in (("class", 1), ("class", 10), ("source", 10))
]


@pytest.fixture(scope="module")
def reports(store: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Report]:
    """All runs, by the command line in one process that uses the golden's BLAS kernels."""
    folder = tmp_path_factory.mktemp("reports")
    lines = []
    for number, (head, rule, per, shots) in enumerate(_SETTINGS):
        options = ["--head", HEADS.get(head, head), "--per", per, "--shots", shots, "--layer", "all", "--seed", 42]
        options += ["--trials", 5, "--draw", "fiser", "--tpr", "nearest", "-o", folder / f"{number}.json"]
        options += ["-k", "oracle", "--rule", rule] if rule else []
        lines.append([str(part) for part in ("adapt", store, *options)])
    subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        input=json.dumps(lines),
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **KERNELS},
    )
    return {setting: Report.load(folder / f"{number}.json") for number, setting in enumerate(_SETTINGS)}


def _entries(golden: list[dict[str, Any]], setting: Any) -> list[dict[str, Any]]:
    head, rule, per, shots = setting
    found = [
        entry
        for entry in golden
        if (entry["head"], entry["knn_rule"], entry[f"shots_per_{per}"]) == (head, rule, shots)
    ]
    assert [entry["seed"] for entry in found] == list(SEEDS)
    return found


@pytest.mark.parametrize("setting", _SETTINGS, ids=str)
def test_support_rows_are_those_of_the_reference(
    golden: list[dict[str, Any]], reports: dict[Any, Report], setting: Any
) -> None:
    for trial, entry in enumerate(_entries(golden, setting)):
        rows = sorted(int(key.rsplit("/", 1)[1]) for key in reports[setting].supports[str(trial)])
        assert rows == entry["support"]


@pytest.mark.parametrize("setting", _SETTINGS, ids=str)
def test_numbers_of_every_layer_equal_the_reference_to_a_millionth(
    golden: list[dict[str, Any]], reports: dict[Any, Report], setting: Any
) -> None:
    selection = "oracle" if setting[1] else "fixed"
    for trial, entry in enumerate(_entries(golden, setting)):
        for layer in entry["layers"]:
            for name, metric in METRICS.items():
                (row,) = reports[setting].where(
                    layer=str(layer["layer"]), selection=selection, source="all", metric=metric
                )
                assert row.n_query == entry["query_size"]
                assert row.values[trial] == pytest.approx(layer[name], abs=1e-6), (entry["seed"], layer["layer"], name)
                if "k" in layer:
                    assert row.choices[trial] == f"{layer['layer']} k={layer['k']}"


def test_oracle_picks_the_layer_that_the_reference_picks(golden: list[dict[str, Any]], store: Path) -> None:
    report = adapt(store, shots=10, trials=5, seed=42, draw="fiser", tpr="nearest", layer="oracle")
    (oracle,) = report.where(selection="oracle", source="all", metric="auroc")
    entries = _entries(golden, ("svm", None, "class", 10))
    assert list(oracle.choices) == [str(entry["oracle_layer"]) for entry in entries]
    best = [max(layer["auroc"] for layer in entry["layers"]) for entry in entries]
    np.testing.assert_allclose(oracle.values, best, atol=1e-6)
    (fixed,) = report.where(selection="fixed", source="all", metric="auroc")
    assert fixed.layer == "23"


@pytest.mark.parametrize("head", ["svm", "linear", "prototype"])
def test_batched_solver_stays_within_a_thousandth_of_the_reference(
    golden: list[dict[str, Any]], store: Path, head: str
) -> None:
    for per, shots in (("class", 1), ("class", 10), ("source", 10)):
        report = adapt(
            store,
            shots=shots,
            head=HEADS.get(head, head),
            trials=5,
            seed=42,
            per=per,
            draw="fiser",
            layer="all",
            solver="batched",
        )
        for trial, entry in enumerate(_entries(golden, (head, None, per, shots))):
            for layer in entry["layers"]:
                (row,) = report.where(layer=str(layer["layer"]), source="all", metric="auroc")
                assert row.values[trial] == pytest.approx(layer["auroc"], abs=1e-3)


@pytest.mark.parametrize("rule", ["legacy", "exponential"])
def test_batched_neighbours_stay_within_a_thousandth_of_the_reference(
    golden: list[dict[str, Any]], store: Path, rule: str
) -> None:
    entries = _entries(golden, ("knn", rule, "class", 10))
    for k in sorted({layer["k"] for entry in entries for layer in entry["layers"]}):
        how = {"seed": 42, "draw": "fiser", "layer": "all", "solver": "batched", "k": k, "rule": rule}
        report = adapt(store, shots=10, head="knn", trials=5, **how)
        for trial, entry in enumerate(entries):
            for layer in entry["layers"]:
                if layer["k"] == k:
                    (row,) = report.where(layer=str(layer["layer"]), source="all", metric="auroc")
                    assert row.values[trial] == pytest.approx(layer["auroc"], abs=1e-3)


def test_published_spread_is_the_population_one(store: Path) -> None:
    report = adapt(store, shots=1, trials=5, seed=42, draw="fiser", tpr="nearest")
    (row,) = report.where(source="all", metric="auroc")
    summary = next(
        entry for entry in report.summary_entries() if (entry["source"], entry["metric"]) == ("all", "auroc")
    )
    assert summary["sd"] == pytest.approx(np.std(row.values))
