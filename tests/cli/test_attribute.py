"""``fewshot attribute`` as a user runs it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.embeddings.store.writer import LayerData, write_store
from fewshot.protocols.curve.finished_points import FinishedPoint, ResultCache
from fewshot.results.report import Report

BRIEF = ["--fractions", "10%,100%", "--trials", "2", "--steps", "30", "--widths", "8", "--latent", "2", "--quiet"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    sources = np.repeat(["nature", "progan", "mine"], 60)
    features = generator.normal(size=(180, 8)) + (sources != "nature")[:, None]
    samples = pd.DataFrame({"key": np.arange(180).astype(str), "source": sources, "synthetic": sources != "nature"})
    path = tmp_path_factory.mktemp("cli") / "toy.h5"
    write_store(path, samples, [LayerData("npr", "pooled", features.astype(np.float32), default=True)])
    return path


def test_the_command_writes_report_scores_and_figures_and_leaves_no_points(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    run = CliRunner().invoke(
        group,
        [
            *("attribute", str(store), "-o", str(out), *BRIEF, "--keep-scores", "--full"),
            *("--figures", str(tmp_path / "figures"), "--format", "svg"),
        ],
    )
    assert run.exit_code == 0, run.output
    assert "attribution source, AP / ACC" in run.stdout
    assert "Real (ProGAN set) (printed)" in run.stdout
    assert "warning: counted as others, for want of a known family: mine" in run.stderr
    assert {row.head for row in Report.load(out).rows} == {"acm:natural", "acm:synthetic", "linear-probe", "rbf-svm"}
    with np.load(out.with_suffix(".npz")) as kept:
        assert "scores | acm:natural | 0.1 | 1" in kept.files
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "data_curve.svg",
        "deviations.svg",
        "fisher_ratio.svg",
        "scores_natural.svg",
        "scores_synthetic.svg",
    }
    assert not (tmp_path / "report.json.points").exists()


def test_json_on_stdout_is_one_report_and_nothing_else(store: Path) -> None:
    run = CliRunner().invoke(group, ["attribute", str(store), *BRIEF, "--reference", "none", "--json"])
    report = Report.from_json(json.loads(run.stdout))
    assert report.protocol == "attribution"
    assert report.config["fractions"] == [0.1, 1.0]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--fractions", "ten"], 2, "'ten' is not a share"),
        (["--fractions", "0.05%"], 1, "the smallest fraction of this set is"),
        (["--fit-on", "nobody"], 1, "there is no class or training source 'nobody'"),
        (["--backbone", "nrp"], 1, "did you mean 'npr'"),
        (["--device", "cuda:99"], 1, "--device cuda:99: "),
    ],
)
def test_what_cannot_be_done_is_one_sentence(store: Path, options: list[str], status: int, words: str) -> None:
    run = CliRunner().invoke(group, ["attribute", str(store), *BRIEF, *options])
    assert run.exit_code == status
    assert words in run.stderr


@pytest.mark.slow
def test_a_killed_curve_goes_on_at_the_last_finished_point(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--fractions", "10%,100%", "--trials", "4", "--steps", "300", "--widths", "8", "--latent", "2"]
    whole, killed = (tmp_path / name for name in ("whole.json", "killed.json"))
    kept = tmp_path / "killed.json.points"
    command = ["attribute", str(store), *options, "--quiet", "-o"]
    made: list[str] = []
    put = ResultCache.put

    def counted(self: ResultCache, name: str, point: FinishedPoint) -> None:
        made.append(name)
        put(self, name, point)

    monkeypatch.setattr(ResultCache, "put", counted)

    process = subprocess.Popen([sys.executable, "-m", "fewshot", *command, str(killed)], stdout=subprocess.DEVNULL)
    while len(list(kept.glob("*.npz"))) < 3:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)  # it must still run
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = len(list(kept.glob("*.npz")))
    for out in (killed, whole):
        assert CliRunner().invoke(group, [*command, str(out)]).exit_code == 0

    points = 4 * 2 * 4  # two classes and two references, two shares, four draws
    assert 3 <= finished < points
    assert len(made) == (points - finished) + points
    assert not kept.exists()
    assert Report.load(killed).compare(Report.load(whole)).equal
