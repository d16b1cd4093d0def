"""From scores to thresholds, from thresholds to verdicts, and what is said of both."""

import numpy as np
import pytest

from fewshot.core.errors import OptionError
from fewshot.detector.summary import RESEMBLE, lines, promises
from fewshot.detector.thresholds import alarm_threshold, clear_threshold, promise, require_enough
from fewshot.detector.verdict import verdicts
from tests.detector import made_detectors as made

NONE = np.empty(0)
LEFT_OUT = np.array([-2.0, -1.0, -3.0])


def test_the_certificate_comes_from_calibration_and_the_estimate_from_images_left_out() -> None:
    calibration = np.arange(60.0)
    certified = alarm_threshold(calibration, LEFT_OUT, share=0.05, accept_weaker=False)
    assert (certified.kind, certified.value, certified.wanted) == ("certificate", 59.0, None)
    estimate = alarm_threshold(NONE, LEFT_OUT, share=0.05, accept_weaker=False)
    assert (estimate.kind, estimate.value, estimate.share) == ("estimate", -1.0, None)
    clear = clear_threshold(np.arange(29.0), LEFT_OUT, share=0.1)
    assert (clear.kind, clear.value, clear.side) == ("certificate", 0.0, "below")
    few = clear_threshold(np.arange(28.0), LEFT_OUT, share=0.1)
    assert (few.kind, few.value) == ("estimate", -3.0)


def test_too_few_are_refused_by_both_who_count_them() -> None:
    reason = "--max-false-alarms: 1 % needs 299, you gave 80; 5 % can be certified"
    with pytest.raises(OptionError, match=reason):
        alarm_threshold(np.arange(80.0), LEFT_OUT, share=0.01, accept_weaker=False)
    with pytest.raises(OptionError, match=reason):
        require_enough(80, 0.01, accept_weaker=False)
    require_enough(80, 0.01, accept_weaker=True)
    weaker = alarm_threshold(np.arange(80.0), LEFT_OUT, share=0.01, accept_weaker=True)
    assert (weaker.share, weaker.wanted) == (0.05, 0.01)
    with pytest.raises(OptionError, match="nothing can be certified"):
        require_enough(4, 0.01, accept_weaker=True)


@pytest.mark.parametrize(
    ("alarm", "clear", "expected"),
    [
        (1.0, -1.0, ["natural", "unsure", "unsure", "unsure", "synthetic"]),
        (-1.0, 1.0, ["natural", "unsure", "unsure", "unsure", "synthetic"]),
        (0.0, 0.0, ["natural", "natural", "unsure", "synthetic", "synthetic"]),
    ],
)
def test_a_verdict_lies_beyond_both_thresholds(alarm: float, clear: float, expected: list[str]) -> None:
    scores = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert verdicts(scores, alarm=alarm, clear=clear).tolist() == expected
    assert verdicts(np.array([np.nan]), alarm=alarm, clear=clear).tolist() == ["unsure"]


def test_no_more_are_flagged_or_cleared_than_either_threshold_allows() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, (alarm, clear) = rng.integers(-3, 4, 50).astype(float), rng.integers(-3, 4, 2).astype(float)
        said = verdicts(scores, alarm=alarm, clear=clear)
        assert (scores[said == "synthetic"] > alarm).all()
        assert (scores[said == "natural"] < clear).all()


@pytest.mark.parametrize("name", ["svm", "knn", "rigid"])
def test_the_image_at_the_threshold_is_not_flagged_by_rounding(name: str) -> None:
    found = made.detector(name)
    alarm, scale = found.description.alarm, found.description.members[0].scale
    part = found.images.take(found.images.rows("calibration"))
    one_by_one = np.concatenate([found.score(part.take(np.array([row])).features)[0] for row in range(len(part))])
    assert found.verdicts(one_by_one).count("synthetic") <= alarm.beyond
    near = np.array([alarm.value + 1e-7 * scale, alarm.value + 1e-3 * scale])
    clear = found.description.clear.value
    assert found.verdicts(near)[0] != "synthetic"
    assert clear > alarm.value or found.verdicts(near)[1] == "synthetic"


def test_promises_are_said_in_sentences() -> None:
    found = made.detector(naturals=80)
    assert promises(found)[0] == (
        "at this threshold at most 5 of 100 natural images like yours are flagged (95 % sure, from 80)"
    )
    assert promises(found)[-1] == RESEMBLE
    assert promise(found.description.clear).startswith("at this threshold at most 10 of 100 such synthetic images")
    without = made.detector(naturals=0, synthetics=0)
    assert all("no guarantee" in sentence for sentence in promises(without))
    assert RESEMBLE not in "\n".join(lines(without))


def test_the_line_of_a_verdict_shows_the_score_beyond_which_it_is_said() -> None:
    for seed in range(4):
        found = made.detector(seed=seed)
        alarm, clear = found.description.alarm.value, found.description.clear.value
        shown = "\n".join(lines(found))
        assert f"synthetic    above {max(alarm, clear):.4g}: " in shown
        assert f"natural      below {min(alarm, clear):.4g}: " in shown
