"""A detector that was saved says elsewhere what it said when it was fitted, bit by bit."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fewshot.detector.detector import Detector
from fewshot.detector.fitting import FitSettings, fit_detector
from fewshot.heads.base import HEADS
from tests.detector import made_detectors as made

SCORES = ("support_scores", "calibration_scores", "held_out_scores")


def queries(found: Detector, count: int = 40) -> dict[tuple[str, str, str], np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        (layer.backbone, layer.layer, layer.view): rng.normal(size=(count, layer.dimension)).astype(np.float32)
        for layer in found.layers
    }


@pytest.mark.parametrize("name", HEADS.names())
def test_every_head_comes_back_with_equal_arrays_and_scores(name: str, tmp_path: Path) -> None:
    saved = made.detector(name, thumbnails=True).save(tmp_path / "a.detector")

    loaded = Detector.load(tmp_path / "a.detector")

    assert loaded.description == saved.description
    assert loaded.digest == saved.digest
    assert loaded.thumbnails == saved.thumbnails
    for array in SCORES:
        assert np.array_equal(getattr(loaded, array), getattr(saved, array)), array
    for array in ("scores", "low", "high"):
        assert np.array_equal(getattr(loaded.probability, array), getattr(saved.probability, array)), array
    assert np.array_equal(loaded.known.scores, saved.known.scores)
    for column in ("keys", "ids", "sources", "roles", "synthetic"):
        assert getattr(loaded.images, column).tolist() == getattr(saved.images, column).tolist(), column
    for key, features in saved.images.features.items():
        assert loaded.images.features[key].tobytes() == features.tobytes()
    for ours, theirs in zip(saved.heads, loaded.heads, strict=True):
        for part, values in ours.state().arrays.items():
            assert np.asarray(theirs.state().arrays[part]).tobytes() == np.asarray(values).tobytes(), part
    asked = queries(saved)
    assert np.array_equal(loaded.score(asked)[0], saved.score(asked)[0])
    assert loaded.to_bytes() == saved.to_bytes()


def test_other_processes_get_the_scores_of_the_fitted_heads(tmp_path: Path) -> None:
    for name in HEADS.names():
        saved = made.detector(name).save(tmp_path / f"{name}.detector")
        asked = queries(saved)
        kept: dict[str, Any] = {"scores": saved.score(asked)[0], **{key[2]: rows for key, rows in asked.items()}}
        np.savez(tmp_path / f"{name}.npz", **kept)
    code = """
import sys
from pathlib import Path
import numpy as np
from fewshot.detector.detector import Detector

paths = sorted(Path(sys.argv[1]).glob("*.detector"))
for path in paths:
    kept, found = np.load(path.with_suffix(".npz")), Detector.load(path)
    asked = {(each.backbone, each.layer, each.view): kept[each.view] for each in found.layers}
    assert np.array_equal(found.score(asked)[0], kept["scores"]), path.stem
print(len(paths))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(HEADS.names())


def test_several_backbones_with_their_mean_come_back(tmp_path: Path) -> None:
    saved = made.detector(backbones=("one", "two"), combine="mean").save(tmp_path / "a.detector")

    loaded = Detector.load(tmp_path / "a.detector")

    assert [member.backbone for member in loaded.description.members] == ["one", "two"]
    asked = queries(saved)
    total, own = loaded.score(asked)
    assert np.array_equal(total, saved.score(asked)[0])
    expected = [(own[each.name] - each.centre) / each.scale for each in loaded.description.members]
    np.testing.assert_allclose(total, np.mean(expected, axis=0), rtol=1e-12)


def test_the_same_images_give_the_same_file_but_for_the_time() -> None:
    one, other = (made.detector("svm", "prototype", thumbnails=True) for _ in range(2))
    other = replace(other, description=msgspec.structs.replace(other.description, created=one.description.created))
    assert one.to_bytes() == other.to_bytes()


@pytest.mark.parametrize(("naturals", "synthetics"), [(0, 0), (60, 0), (0, 30)])
def test_detectors_with_one_promise_or_none_come_back(naturals: int, synthetics: int, tmp_path: Path) -> None:
    saved = made.detector(naturals=naturals, synthetics=synthetics).save(tmp_path / "a.detector")
    loaded = Detector.load(tmp_path / "a.detector")
    assert loaded.description == saved.description
    assert (loaded.description.alarm.kind, loaded.description.clear.kind) == (
        "certificate" if naturals else "estimate",
        "certificate" if synthetics else "estimate",
    )


def test_stored_calibration_scores_are_those_of_the_loaded_head(tmp_path: Path) -> None:
    made.detector("svm", "knn").save(tmp_path / "a.detector")
    loaded = Detector.load(tmp_path / "a.detector")
    part = loaded.images.take(loaded.images.rows("calibration", synthetic=False))
    np.testing.assert_allclose(loaded.score(part.features)[0], loaded.calibration_scores, atol=1e-6)


def test_a_weaker_promise_says_what_was_wanted(tmp_path: Path) -> None:
    saved = made.detector(naturals=40, max_false_alarms=0.01, accept_weaker=True).save(tmp_path / "a.detector")
    alarm = Detector.load(saved.path or "").description.alarm
    assert (alarm.share, alarm.wanted, alarm.images, alarm.beyond) == (0.1, 0.01, 40, 0)


def test_names_that_no_terminal_shows_are_kept_escaped(tmp_path: Path) -> None:
    among = [made.choosable()]
    support = made.images("support", 4, 4, among)
    keys = support.keys.copy()
    keys[:2] = ["two\nlines.png", "caf\udce9.png"]
    found = fit_detector(replace(support, keys=keys), among, FitSettings(), name="made")
    loaded = Detector.load(found.save(tmp_path / "a.detector").path or "")
    assert loaded.images.keys[:2].tolist() == ["two\\nlines.png", "caf\\udce9.png"]
