"""Rows that several backbones make: what they are called, where they stand, and where they must not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.figures.bars import generator_bars
from fewshot.page.document import page_html
from fewshot.results.answer import answer
from fewshot.results.comparison import compare_best
from fewshot.results.leaderboard import leaderboard, paper_comparison
from fewshot.results.ranked_table import ranked_table
from fewshot.results.report import Report, Row
from fewshot.results.row import WEIGHT
from fewshot.results.weights import weight_lines
from tests.protocols.fusion_store import fusion_store

MEMBERS = ("torchvision:vgg16/pooled", "npr/pooled", "safe/pooled")


def _row(backbone: str, *values: float, **changes: Any) -> Row:
    about: dict[str, Any] = {"layer": "pooled", "selection": "fixed", "head": "svm", "dataset": "toy", "source": "all"}
    about |= {"metric": "auroc", "n_support": 20, "n_query": 90, "n_natural": 40, "shots": 10}
    return Row(backbone, values=values, **{**about, **changes})


def _report() -> Report:
    derived: dict[str, Any] = {"members": MEMBERS, "layer": "fixed"}
    chosen: dict[str, Any] = {"members": MEMBERS, "choices": ("npr", "safe"), "layer": "support-cv"}
    rows = [
        _row("torchvision:vgg16", 0.6, 0.62),
        _row("npr", 0.8, 0.82),
        _row("npr", 0.7, 0.7, head="pretrained", layer="logit", shots=0, n_support=0),
        _row("safe", 0.5, 0.52),
        _row("one", 0.75, 0.79, selection="support-cv", **chosen),
        _row("one", 0.99, 0.99, **{**chosen, "layer": "oracle", "selection": "oracle"}),
        _row("fused", 0.9, 0.92, **derived),
        _row("torchvision:vgg16+npr", 0.85, 0.87, members=MEMBERS[:2], layer="fixed"),
    ]
    weights = [
        _row("fused", *values, metric=WEIGHT, **{**derived, "source": name})
        for name, values in zip(MEMBERS, [(0.3, 0.1), (0.7, 0.9), (0.0, 0.0)], strict=True)
    ]
    return Report("fiser", {}, (*rows, *weights))


def test_the_table_says_what_was_fused_and_what_was_chosen_and_how() -> None:
    table = ranked_table(_report())

    assert [line[0] for line in table.lines] == [
        "all 3 fused",
        "vgg16+npr fused",
        "npr",
        "one of 3 (chosen in the support)",
        "npr",
        "vgg16",
        "safe",
        "one of 3 (by oracle)",
    ]
    assert table.notes == ("weights of all 3 fused, 10 shots, mean of 2 draws: npr 0.80, vgg16 0.20, safe 0.00",)
    assert max(map(len, str(_report()).splitlines())) <= 100


def test_a_table_that_is_cut_keeps_the_bound_that_the_oracle_sets() -> None:
    table = ranked_table(_report(), most=3)

    assert [line[0] for line in table.lines] == ["all 3 fused", "vgg16+npr fused", "one of 3 (by oracle)"]
    assert table.left_out == 5


def test_the_answer_never_leads_with_the_oracle_and_tells_the_honest_choice() -> None:
    said = answer(_report())

    assert said.startswith("all 3 fused + svm, 10 shots: AUROC 0.91, the best of 7 compared")
    assert "one of 3 (chosen in the support), 0.14 lower" in said
    assert "next best vgg16+npr fused, 0.05 lower" in said


def test_layers_of_one_backbone_are_called_layers() -> None:
    members = ("npr/early", "npr/late")
    row = _row("fused", 0.9, members=members, metric=WEIGHT, source="npr/late")

    (line,) = weight_lines(Report("fiser", {}, (row,)))
    assert line == "weights of all 2 layers fused, 10 shots: npr/late 0.90"


def test_leaderboards_rank_backbones_alone() -> None:
    entries = leaderboard(_report())

    assert [entry.backbone for entry in entries] == ["npr", "torchvision:vgg16", "safe"]
    plain = replace(_report(), rows=tuple(row for row in _report().rows if not row.members))
    assert paper_comparison(entries) == paper_comparison(leaderboard(plain))


def test_what_was_fused_is_compared_with_each_backbone_and_with_the_honest_choice() -> None:
    pairs = [(one.rows[0].backbone, one.rows[1].backbone, one.rows[1].selection) for one in compare_best(_report())]

    assert pairs == [
        ("fused", "torchvision:vgg16+npr", "fixed"),
        ("fused", "npr", "fixed"),
        ("fused", "one", "support-cv"),
        ("fused", "npr", "fixed"),
        ("fused", "torchvision:vgg16", "fixed"),
        ("fused", "safe", "fixed"),
    ]


def test_a_report_keeps_what_its_rows_are_made_of(tmp_path: Path) -> None:
    report = _report()
    saved = Report.load(report.save(tmp_path / "r.json"))

    assert saved.rows == report.rows
    frame = saved.summary()
    assert set(frame[frame["metric"] == WEIGHT]["source"]) == set(MEMBERS)
    assert "members" not in frame.columns


def test_pages_and_figures_call_them_so() -> None:
    html = page_html({"toy": _report()}, title="toy")

    for name in ("all 3 fused", "one of 3 (by oracle)", "one head over all backbones", "npr 0.80, vgg16 0.20, safe"):
        assert name in html
    bars = generator_bars([replace(row, source="sd3") for row in _report().rows if row.metric == "auroc"])
    named = {text.get_text() for text in bars.legends[0].get_texts()}
    assert {"all 3 fused svm", "one of 3 (by oracle) svm", "npr pooled svm"} <= named


def test_the_commands_measure_print_and_compare_fused_heads(tmp_path: Path) -> None:
    store, out = fusion_store(tmp_path / "toy.h5"), tmp_path / "r.json"
    words = ["adapt", store, "--fuse", "--trials", 10, "--shots", 4, "--keep-scores", "-q", "-o", out]
    adapted = CliRunner().invoke(group, list(map(str, words)), env={"COLUMNS": "100"})
    assert adapted.exit_code == 0, adapted.output
    assert "one of 3 (chosen in the support)" in adapted.stdout
    for kind in ("draws", "two-way"):
        compared = CliRunner().invoke(group, ["compare", str(out), "--interval", kind], env={"COLUMNS": "100"})
        assert compared.exit_code == 0, compared.output
        assert "what was fused, against every other" in " ".join(compared.stdout.split())
        assert compared.stdout.count("all 3 fused") >= 4


@pytest.mark.parametrize("value", ["kernels", "images.h5"])
def test_an_unknown_form_is_refused(value: str) -> None:
    found = CliRunner().invoke(group, ["adapt", "--fuse", value, "images.h5"])

    assert found.exit_code == 2
    assert "is not one of 'kernel', 'scores'" in found.output
