"""``fit --from``: successors of detectors, with stores made by hand."""

from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import InputError, OptionError, OutputError, StoreError
from fewshot.detector.detector import Detector
from fewshot.detector.fit import fit
from fewshot.detector.refit import GUIDED, refit
from tests.detector.made_inputs import make_store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refit")
    make_store(folder / "support.h5", natural=10, synthetic=10, seed=1)
    make_store(folder / "naturals.h5", natural=60, seed=2)
    make_store(folder / "added.h5", natural=6, synthetic=8, seed=3, sources=("phone", "newer"))
    make_store(folder / "check.h5", natural=30, synthetic=30, seed=4)
    fit(folder / "support.h5", naturals=folder / "naturals.h5", max_false_alarms=0.1, out=folder / "old.detector")
    return folder


def test_a_successor_equals_a_fit_on_all_images_at_once(stores: Path) -> None:
    found = refit(stores / "old.detector", add=stores / "added.h5").detector
    old, added = Detector.load(stores / "old.detector"), found.images
    support = added.take(added.rows("support"))
    assert len(support) == 34
    head = (
        old.heads[0]
        .unfitted()
        .fit(
            support.features["net", "pooled", "clean"]
            / np.linalg.norm(support.features["net", "pooled", "clean"], axis=1, keepdims=True),
            support.synthetic.astype(np.int64),
        )
    )
    calibration = added.take(added.rows("calibration"))
    unit = calibration.features["net", "pooled", "clean"]
    expected = head.decision_function(unit / np.linalg.norm(unit, axis=1, keepdims=True))
    np.testing.assert_allclose(found.calibration_scores, expected, atol=1e-9)


def test_the_old_file_stays_as_it_is_and_the_new_one_names_it(stores: Path, tmp_path: Path) -> None:
    before = (stores / "old.detector").read_bytes()
    refitted = refit(stores / "old.detector", add=stores / "added.h5", out=tmp_path / "new.detector")
    assert (stores / "old.detector").read_bytes() == before
    new = Detector.load(tmp_path / "new.detector")
    assert new.description.parent == Detector.load(stores / "old.detector").digest
    assert (new.description.support.natural, new.description.support.synthetic) == (16, 18)
    assert new.description.support.sources == {"camera": 10, "model": 10, "newer": 8, "phone": 6}
    assert refitted.added.new.sources == {"newer": 8, "phone": 6}
    assert not (tmp_path / "new.detector.parts").exists()
    assert "newer" in " ".join(refitted.lines())


def test_promise_head_and_layer_are_those_of_the_parent(stores: Path) -> None:
    old = Detector.load(stores / "old.detector").description
    new = refit(stores / "old.detector", add=stores / "added.h5").detector.description
    assert (new.alarm.share, new.alarm.images, new.alarm.kind) == (0.1, 60, "certificate")
    assert [(each.name, each.head, each.licence) for each in new.members] == [
        (each.name, each.head, each.licence) for each in old.members
    ]
    assert GUIDED in new.notes


def test_a_grandchild_names_its_parent_and_keeps_what_both_added(stores: Path, tmp_path: Path) -> None:
    child = refit(stores / "old.detector", add=stores / "added.h5", out=tmp_path / "child.detector").detector
    more = make_store(tmp_path / "more.h5", natural=2, synthetic=2, seed=11)
    grandchild = refit(tmp_path / "child.detector", add=more).detector.description
    assert grandchild.parent == child.digest
    assert grandchild.support.natural + grandchild.support.synthetic == 38
    assert len([note for note in grandchild.notes if note.startswith("refitted from")]) == 2
    assert grandchild.notes.count(GUIDED) == 1


def test_images_that_the_support_has_count_once(stores: Path) -> None:
    found = refit(stores / "old.detector", add=stores / "support.h5")
    assert (found.added.known, found.added.new.natural, found.added.relabelled) == (20, 0, ())
    assert found.detector.description.support == Detector.load(stores / "old.detector").description.support


def test_another_label_corrects_that_of_the_support(stores: Path, tmp_path: Path) -> None:
    turned = make_store(tmp_path / "turned.h5", synthetic=2, seed=5, ids=["1-0", "1-1"], sources=("", "mistaken"))
    found = refit(stores / "old.detector", add=turned)
    assert found.added.relabelled == ("turned/0.png", "turned/1.png")
    support = found.detector.description.support
    assert (support.natural, support.synthetic, support.sources["mistaken"]) == (8, 12, 2)
    images = found.detector.images
    assert images.synthetic[np.flatnonzero(images.ids == "1-0")].tolist() == [True]
    assert any("corrected" in line for line in found.lines())


def test_pixels_with_two_labels_are_refused(stores: Path, tmp_path: Path) -> None:
    both = make_store(tmp_path / "both.h5", natural=1, synthetic=1, seed=5, ids=["same", "same"])
    with pytest.raises(InputError, match=r"same pixels.*correct one of them"):
        refit(stores / "old.detector", add=both)


def test_an_image_that_certifies_is_not_fitted_on_unless_others_certify(stores: Path, tmp_path: Path) -> None:
    flagged = make_store(tmp_path / "flagged.h5", natural=1, seed=5, ids=["2-7"])
    with pytest.raises(
        InputError, match=r"set a threshold.*leave them out of --add, or give other images by --naturals"
    ):
        refit(stores / "old.detector", add=flagged)
    fresh = make_store(tmp_path / "fresh.h5", natural=40, seed=6, sources=("today", ""))
    found = refit(stores / "old.detector", add=flagged, naturals=fresh).detector
    assert found.description.calibration.sources == {"today": 40}
    assert found.images.counts("known") == {"camera": 59}  # those that certified before are evidence still
    assert found.images.roles[found.images.ids == "2-7"].tolist() == ["support"]
    assert GUIDED not in found.description.notes


def test_too_few_new_naturals_are_refused_with_the_arithmetic(stores: Path, tmp_path: Path) -> None:
    few = make_store(tmp_path / "few.h5", natural=20, seed=6)
    with pytest.raises(OptionError, match="10 % needs 29, you gave 20"):
        refit(stores / "old.detector", naturals=few)
    weaker = refit(stores / "old.detector", naturals=few, accept_weaker=True).detector.description
    assert (weaker.alarm.share, weaker.alarm.wanted) == (0.2, 0.1)
    held = refit(refit(stores / "old.detector", naturals=few, accept_weaker=True).detector, heads="lda").detector
    assert (held.description.alarm.share, held.description.alarm.wanted) == (0.2, 0.1)


def test_the_check_set_shares_no_image_with_the_new_detector(stores: Path, tmp_path: Path) -> None:
    for seen, role in (("1-3", "support"), ("2-3", "calibration"), ("3-3", "support")):
        check = make_store(tmp_path / f"{seen}.h5", natural=2, synthetic=1, seed=7, ids=[seen, "x", "y"])
        with pytest.raises(InputError, match=f"one of its {role}.*cannot check"):
            refit(stores / "old.detector", add=stores / "added.h5", check=check, out=tmp_path / "new.detector")
        assert not (tmp_path / "new.detector").exists()


def test_both_are_compared_on_the_check_set(stores: Path) -> None:
    found = refit(stores / "old.detector", add=stores / "added.h5", check=stores / "check.h5")
    assert found.comparison is not None
    assert (found.comparison.natural, found.comparison.synthetic) == (30, 30)
    assert [each.name for each in found.comparison.measures] == ["false alarms", "misses", "unsure", "AUROC"]
    again = refit(stores / "old.detector", heads="lda", check=stores / "check.h5").comparison
    assert again is not None
    assert again.digest == found.comparison.digest


def test_another_head_is_fitted_where_it_is_wanted(stores: Path) -> None:
    found = refit(stores / "old.detector", heads=["lda", "logistic"]).detector.description
    assert found.members[0].head in ("lda", "logistic")
    assert [each.head for each in found.candidates] == ["lda", "logistic"]


def test_a_head_that_needs_other_views_is_refused(stores: Path) -> None:
    with pytest.raises(OptionError, match=r"--head minder looks at .* holds features of clean only"):
        refit(stores / "old.detector", heads="minder")


def test_nothing_to_change_is_refused(stores: Path) -> None:
    with pytest.raises(OptionError, match="nothing is to change; give labelled images by --add"):
        refit(stores / "old.detector")


def test_the_parent_is_never_written_over(stores: Path) -> None:
    with pytest.raises(OutputError, match="is read by this command"):
        refit(stores / "old.detector", add=stores / "added.h5", out=stores / "old.detector")


def test_features_of_other_weights_are_refused(stores: Path, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other.h5", natural=2, synthetic=2, seed=8, weights="b" * 64)
    with pytest.raises(StoreError, match="the weight files"):
        refit(stores / "old.detector", add=other)
