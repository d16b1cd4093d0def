"""What a command writes is checked before it works, and is there although nobody reads what it prints."""

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fewshot.cli import group, reporting
from fewshot.embeddings.store.reader import FeatureStore
from tests.detector.spectrum_detectors import fit_detector, make_inbox, make_support
from tests.protocols.toy_store import toy_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a report, a detector and images."""
    made = tmp_path_factory.mktemp("made")
    toy_store(made / "toy.h5")
    _run("adapt", made / "toy.h5", "--trials", 2, "-b", "net", "-o", made / "toy.json", "-q")
    fitted = fit_detector(made / "fit").path
    assert fitted is not None
    fitted.rename(made / "x.detector")
    make_inbox(made / "inbox")
    make_support(made / "support")
    return made


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(each) for each in arguments])


@pytest.fixture
def nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stdout be a pipe that was closed before the first line."""

    def broken(*_: object, **__: object) -> None:
        raise reporting.StandardOutputError(f"the result could not be printed: {os.strerror(errno.EPIPE)}")

    monkeypatch.setattr("fewshot.cli.reporting.print_text", broken)
    for module in ("adapt", "embed", "export", "replay", "fit", "predict", "suggest", "robustness", "import_"):
        for name in ("print_text", "print_line", "print_json", "print_report"):
            monkeypatch.setattr(f"fewshot.cli.{module}.{name}", broken, raising=False)


@pytest.mark.usefixtures("nobody_reads")
@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("adapt {0}/toy.h5 --trials 2 -b net -q -o r.json", "r.json"),
        ("export {0}/toy.h5 -o out", "out/store.json"),
        ("replay {0}/toy.json -o again.json", "again.json"),
        ("embed {0}/support -b spectrum --workers 0 -q -o s.h5", "s.h5"),
        ("fit {0}/support -b spectrum -q -o y.detector", "y.detector"),
        ("predict {0}/x.detector {0}/inbox --workers 0 -q -o v.csv", "v.csv"),
        ("suggest {0}/x.detector {0}/inbox -q -n 3 -o label.csv", "label.csv"),
    ],
)
def test_what_is_saved_is_there_although_nothing_can_be_printed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run(*command.format(folder).split())
    assert done.exit_code == 1, done.output
    assert "could not be printed" in done.stderr
    assert (tmp_path / written).stat().st_size > 0


@pytest.mark.parametrize(
    "command",
    [
        "adapt {0}/toy.h5 -o {1}/r.json",
        "attribute {0}/toy.h5 -b net -o {1}/r.json",
        "robustness {0}/toy.h5 -o {1}/r.json",
        "replay {0}/toy.json -o {1}/r.json",
        "embed {0}/support -b spectrum -o {1}/s.h5",
        "fit {0}/support -b spectrum -o {1}/y.detector",
        "predict {0}/x.detector {0}/inbox -o {1}/v.csv",
        "suggest {0}/x.detector {0}/inbox -o {1}/label.csv",
        "card {0}/x.detector -o {1}/card.txt",
    ],
)
def test_an_output_that_must_stay_is_refused_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise AssertionError("it worked before it looked at what it is to write")

    name = Path(command.rpartition("/")[2])
    (tmp_path / name).write_text("something else of the user's")
    monkeypatch.setattr("fewshot.protocols.trials.pool.EvaluationPool.features", nothing)
    monkeypatch.setattr("fewshot.embeddings.embedder.Embedder.results", nothing)
    done = _run(*command.format(folder, tmp_path).split())
    assert done.exit_code == 1, done.output
    assert "is there already" in done.stderr
    assert (tmp_path / name).read_text() == "something else of the user's"


def test_several_files_are_all_read_before_the_first_is_shown(folder: Path) -> None:
    done = _run("inspect", folder / "toy.h5", folder / "nothing.h5")
    assert done.exit_code == 1
    assert done.stdout == ""
    done = _run("inspect", folder / "toy.h5", folder / "toy.json")
    assert done.exit_code == 0, done.stderr
    assert f"{len(FeatureStore(folder / 'toy.h5'))} images" in done.stdout
    assert "protocol fiser" in done.stdout


def test_verify_says_of_every_file_whether_it_is_sound(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / "toy.h5").read_bytes())
    with FeatureStore(folder / "toy.h5") as store:
        layer = store.file[f"/features/net/{store.default_layer('net')}"]
        content[layer.id.get_chunk_info(0).byte_offset] ^= 255
    (tmp_path / "damaged.h5").write_bytes(content)
    done = _run("verify", tmp_path / "damaged.h5", folder / "toy.h5")
    assert done.exit_code == 1
    assert "toy.h5: sound" in done.stdout
    assert "damaged.h5" in done.stderr
