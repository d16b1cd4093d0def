"""Drift: found where the traffic changed, hardly ever where it did not, and whatever a log holds has its sentence."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from fewshot.cli import group
from fewshot.core.errors import InputError, OptionError
from fewshot.detector.audit_log import AuditEntry, AuditLog
from fewshot.detector.certificate import certify
from fewshot.detector.detector import Detector
from fewshot.detector.drift import LEVEL, Drift, compare, drift
from fewshot.detector.drift_summary import conclusions, lines, to_json
from fewshot.detector.traffic import Traffic
from tests.detector import made_detectors as made


@cache
def calibrated(naturals: int = 80) -> Detector:
    """A detector whose calibration scores are normal, and whose alarm threshold is certified on them."""
    return with_scores(made.detector("lda", naturals=naturals), np.random.default_rng(5).normal(size=naturals))


def with_scores(detector: Detector, scores: np.ndarray) -> Detector:
    alarm = certify(scores, 0.05)
    assert alarm is not None
    described = msgspec.structs.replace(detector.description, alarm=alarm)
    return replace(detector, calibration_scores=scores, description=described)


@cache
def uncalibrated() -> Detector:
    return made.detector("lda", naturals=0)


def traffic(scores: Sequence[float] | np.ndarray, unknown: np.ndarray | None = None) -> Traffic:
    values = np.asarray(scores, dtype=np.float64)
    none = np.zeros(len(values), dtype=np.bool_)
    return Traffic(values, none if unknown is None else unknown, ("2026-01-31T12:00:00+00:00",) * len(values), 0, 0)


def found(scores: np.ndarray, *, detector: Detector | None = None, share: float = 0.0, **more: Any) -> Drift:
    return compare(detector or calibrated(), traffic(scores, **more), level=LEVEL, synthetic_share=share)


def normal(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, count]).normal(size=count)


def entries(detector: Detector, scores: np.ndarray, **fields: Any) -> list[AuditEntry]:
    said = detector.verdicts(scores)
    return [
        AuditEntry(
            time=f"2026-01-31T12:{number // 60 % 60:02}:{number % 60:02}+00:00",
            image_sha256=f"{number:064x}",
            detector_sha256=detector.digest,
            image=f"{number}.jpg",
            score=float(score),
            verdict=verdict,
            unknown=False,
            p_value=0.5,
            alarm=detector.description.alarm.value,
            clear=detector.description.clear.value,
        )
        for number, (score, verdict) in enumerate(zip(scores, said, strict=True))
    ]


@pytest.fixture
def saved(tmp_path: Path) -> Detector:
    return made.detector("lda", naturals=80).save(tmp_path / "a.detector")


def write(path: Path, *parts: Sequence[AuditEntry]) -> Path:
    with AuditLog(path) as log:
        for part in parts:
            log.append(part)
    return path


# -- what is found -------------------------------------------------------------------------------------------------


def test_traffic_like_the_calibration_does_not_drift() -> None:
    same = found(normal(5000))
    assert not same.drifting
    assert conclusions(same)[0].startswith("No drift was found. That is no proof")


@pytest.mark.parametrize(("shift", "most"), [(2.0, 32), (1.0, 512)])
def test_scores_that_rose_are_found_within_some_images(shift: float, most: int) -> None:
    drifted = found(normal(2000) + shift)
    assert drifted.scores is not None
    assert drifted.scores.higher[0].stop <= most
    assert drifted.scores.lower == ()
    assert bool(drifted.alarms.findings) == (shift > 1)  # 80 images bound the share of alarms loosely
    assert any("more synthetic images explain" in sentence for sentence in conclusions(drifted))


def test_scores_that_fell_are_found_and_told_from_those_that_rose() -> None:
    drifted = found(normal(2000) - 1)
    assert drifted.scores is not None
    assert drifted.scores.lower
    assert drifted.scores.higher == ()
    assert drifted.alarms.findings == ()
    assert any("more synthetic images do not explain" in sentence for sentence in conclusions(drifted))


def test_more_unknown_images_are_found_though_scores_are_the_same() -> None:
    drifted = found(normal(1000), unknown=np.random.default_rng(0).random(1000) < 0.4)
    assert drifted.unknown.findings[0].stop <= 64
    assert drifted.alarms.findings == ()
    assert any("unlike every known one" in sentence for sentence in conclusions(drifted))


def test_a_change_after_much_traffic_is_found_as_fast_as_an_early_one() -> None:
    drifted = found(np.concatenate([normal(10_000), normal(1000, seed=1) + 1.5]))
    assert drifted.scores is not None
    first = drifted.scores.higher[0]
    assert first.start >= 9_900
    assert first.stop <= 10_260


def test_the_share_of_synthetic_images_that_is_expected_is_no_drift() -> None:
    synthetic = np.random.default_rng(0).random(3000) < 0.2
    mixed = np.where(synthetic, 4.0, 0.0) + normal(3000)
    assert found(mixed).drifting
    assert not found(mixed, share=0.25).drifting
    assert found(mixed - 1.5, share=0.25).drifting  # what fell is not explained by any share


def test_few_calibration_images_find_less_than_many() -> None:
    needed = {}
    for naturals in (80, 500):
        stops = []
        for seed in range(5):
            detector = with_scores(made.detector("lda", naturals=naturals), normal(naturals, seed=seed))
            scores = found(normal(2000, seed=seed) + 0.5, detector=detector).scores
            assert scores is not None
            stops.append(scores.higher[0].stop if scores.higher else 10_000)
        needed[naturals] = np.median(stops)
    assert needed[500] < needed[80]


# -- what is not found ---------------------------------------------------------------------------------------------


def test_the_answer_does_not_depend_on_how_often_one_looks() -> None:
    scores = np.concatenate([normal(300), normal(700, seed=2) + 1.2])
    whole = found(scores)
    for images in (0, 1, 15, 16, 200, 400, 777, 1000):
        part = found(scores[:images])
        assert part.findings == tuple(finding for finding in whole.findings if finding.stop <= images)


def drifted_without_drift(runs: int, images: int, *, naturals: int, ties: bool) -> float:
    """The share of logs in which drift is found at any of their looks, scores of the calibration and the log alike."""
    base, drifting = made.detector("lda", naturals=naturals), 0
    for run in range(runs):
        rng = np.random.default_rng([run, naturals])
        calibration, scores = rng.normal(size=naturals), rng.normal(size=images)
        if ties:
            calibration, scores = calibration.round(), scores.round()
        drifting += compare(with_scores(base, calibration), traffic(scores), level=0.2, synthetic_share=0.0).drifting
    return drifting / runs


@pytest.mark.parametrize("ties", [False, True])
def test_drift_is_found_where_there_is_none_as_rarely_as_is_said(ties: bool) -> None:
    share = drifted_without_drift(100, 800, naturals=80, ties=ties)
    assert share <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 100)


@pytest.mark.slow
@pytest.mark.parametrize("naturals", [59, 200])
def test_drift_is_found_where_there_is_none_as_rarely_as_is_said_in_long_logs(naturals: int) -> None:
    share = drifted_without_drift(100, 3000, naturals=naturals, ties=False)
    assert share <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 100)


@pytest.mark.slow
def test_features_like_those_of_the_calibration_do_not_drift_unknown_images_included() -> None:
    drifting = 0
    for seed in range(40):
        detector = made.detector("lda", naturals=80, seed=seed)
        part = made.images("known", 500, 0, [made.choosable("lda")], seed=1000 + seed)
        features = {detector.nearest.key: part.features[detector.nearest.key]}
        looked_up = detector.nearest.look_up(features[detector.nearest.key], [str(name) for name in part.ids])
        unknown = np.array([each.unknown for each in looked_up])
        drifting += found(detector.score(features)[0], detector=detector, unknown=unknown).drifting
    assert drifting / 40 <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 40)


# -- without a calibration -----------------------------------------------------------------------------------------


def test_without_a_calibration_a_short_log_is_counted_and_not_compared() -> None:
    short = found(normal(115), detector=uncalibrated())
    assert (short.drifting, short.reference, short.scores, short.unknown.expected) == (False, "", None, None)
    assert "fewer than 116 images" in conclusions(short)[0]
    assert "scores cannot be compared" in lines(short, log="a.jsonl")[1]


def test_without_a_calibration_a_log_is_compared_with_its_beginning() -> None:
    same = found(normal(1500), detector=uncalibrated())
    changed = found(np.concatenate([normal(100), normal(1500, seed=1) - 1.5]), detector=uncalibrated())
    assert (same.drifting, same.reference, same.start) == (False, "log", 100)
    assert changed.scores is not None
    assert changed.scores.lower[0].start >= 100
    assert any("fewer synthetic images explain" in sentence for sentence in conclusions(changed))
    assert "the first 100 images of the log" in lines(changed, log="a.jsonl")[1]


# -- logs ----------------------------------------------------------------------------------------------------------


def test_an_image_counts_once_and_other_detectors_are_left_out(saved: Detector, tmp_path: Path) -> None:
    scores = saved.calibration_scores[:40]
    own = entries(saved, scores)
    parents = [replace(entry, detector_sha256="a" * 64) for entry in own[:7]]
    unnamed = [replace(entry, image_sha256="", image=f"row {number % 2}") for number, entry in enumerate(own[:4])]
    again = [replace(entry, score=own[0].score, verdict=own[0].verdict) for entry in own[:5]]
    log = write(tmp_path / "audit.jsonl", own, parents, again, unnamed)
    result = drift(saved, log)
    assert result.traffic.scores.tolist() == [*scores.tolist(), *scores[:2].tolist()]
    assert (result.traffic.repeated, result.traffic.others) == (5 + 2, 7)
    assert "left out: 7 repeated, 7 of other detectors" in lines(result, log="audit.jsonl")[0]


def test_a_line_that_is_still_being_written_is_passed_over(saved: Detector, tmp_path: Path) -> None:
    log = write(tmp_path / "audit.jsonl", entries(saved, saved.calibration_scores[:20]))
    log.write_bytes(log.read_bytes()[:-30])
    assert len(drift(saved, log).traffic) == 19


def test_logs_that_say_nothing_have_their_sentence(saved: Detector, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "text.jsonl").write_bytes(b"no log\n")
    os.mkfifo(tmp_path / "pipe.jsonl")
    own = entries(saved, saved.calibration_scores[:20])
    other = write(tmp_path / "other.jsonl", [replace(entry, detector_sha256="a" * 64) for entry in own])
    for name, sentence in {
        "empty.jsonl": "has no entry yet; `fewshot predict --log",
        "text.jsonl": "line 1: this is no line of an audit log",
        "absent.jsonl": "cannot be read",
        "pipe.jsonl": "named pipe",
        other.name: "none of the 20 entries .* is of the detector 'made'",
    }.items():
        with pytest.raises(InputError, match=sentence):
            drift(saved, tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"alarm": 99.0}, "the thresholds 99 and"),
        ({"score": 99.0, "verdict": "natural"}, "the verdict natural at the score 99"),
    ],
)
def test_an_entry_that_the_detector_cannot_have_given_is_refused(
    saved: Detector, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    forged = [replace(entry, **changes) for entry in entries(saved, saved.calibration_scores[:1])]
    with pytest.raises(InputError, match=f"{sentence}.*the log was changed after it was written"):
        drift(saved, write(tmp_path / "audit.jsonl", forged))


@pytest.mark.parametrize(
    "options", [{"level": 0.0}, {"level": 1.0}, {"synthetic_share": 1.0}, {"synthetic_share": -0.1}]
)
def test_a_level_or_share_that_is_none_is_refused(saved: Detector, tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="must"):
        drift(saved, tmp_path / "audit.jsonl", **options)


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_ends_with_status_3_only_when_drift_was_found(saved: Detector, tmp_path: Path) -> None:
    calm = write(tmp_path / "calm.jsonl", entries(saved, np.tile(saved.calibration_scores, 3)))
    moved = write(tmp_path / "moved.jsonl", entries(saved, np.tile(saved.calibration_scores + 1000, 3)))
    runner, path = CliRunner(), str(saved.path)
    without, with_drift = (
        runner.invoke(group, ["drift", path, str(calm)]),
        runner.invoke(group, ["drift", path, str(moved)]),
    )
    broken = runner.invoke(group, ["drift", path, str(tmp_path / "absent.jsonl")])
    assert (without.exit_code, with_drift.exit_code, broken.exit_code) == (0, 3, 1)
    assert "compared with  the 80 calibration naturals" in without.stdout
    assert "DRIFT" in with_drift.stdout
    assert "with at most 5 % probability" in with_drift.stdout


def test_json_holds_counts_intervals_findings_and_conclusions(saved: Detector, tmp_path: Path) -> None:
    moved = write(tmp_path / "moved.jsonl", entries(saved, np.tile(saved.calibration_scores + 1000, 3)))
    result = CliRunner().invoke(group, ["drift", str(saved.path), str(moved), "--json"])
    document = json.loads(result.stdout)
    assert result.exit_code == 3
    assert document["drifting"] is True
    assert (document["images"], document["level"], document["reference"]) == (240, 0.05, "calibration")
    assert document["alarms"]["share"] == 1.0
    assert document["alarms"]["low"] > document["alarms"]["expected_at_most"]
    assert document["alarms"]["found"][0]["from"] == 1
    assert document["alarms"]["found"][0]["to"] == 16
    assert document["scores"]["risen"]["distance"] == 1.0
    assert document["scores"]["fallen"]["found"] == []
    assert document == json.loads(json.dumps(to_json(drift(saved, moved))))
