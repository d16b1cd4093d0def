"""``fewshot.fit`` on images made on the spot: what it takes, what it refuses before it works, and what it leaves."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fewshot
from fewshot.core.errors import (
    EpisodeError,
    FewshotError,
    InputError,
    OptionError,
    OutputError,
    StoreError,
    UnknownNameError,
)
from fewshot.detector.detector import Detector
from fewshot.embeddings import extract as extraction
from fewshot.embeddings.extract import embed, extract
from fewshot.embeddings.store.reader import FeatureStore

SHARE = 0.3  # needs 9 naturals


def write_images(folder: Path, count: int, *, seed: int, smooth: bool = False) -> Path:
    """Noise, or smoothed noise; spectra tell them apart."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.normal(size=(32, 32, 3))
        if smooth:
            pixels = (pixels + np.roll(pixels, 1, 0) + np.roll(pixels, 1, 1)) / 1.7
        Image.fromarray(np.clip(128 + 40 * pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def write_support(folder: Path, *, naturals: int = 4, synthetics: int = 4) -> Path:
    for count, name, seed in ((naturals, "natural/camera", 0), (synthetics, "synthetic/sd3", 1)):
        if count:
            write_images(folder / name, count, seed=seed, smooth=seed == 1)
    return folder


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``support``, ``naturals`` (12), ``synthetics`` (12), and the first two as stores."""
    folder = tmp_path_factory.mktemp("given")
    write_support(folder / "support")
    write_images(folder / "naturals", 12, seed=2)
    write_images(folder / "synthetics", 12, seed=3, smooth=True)
    embed(folder / "support", backbones="spectrum", out=folder / "support.h5", quiet=True)
    embed(
        folder / "naturals",
        backbones="spectrum",
        out=folder / "naturals.h5",
        one_class=True,
        unlabelled="natural",
        quiet=True,
    )
    return folder


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the roots that are embedded, in order."""
    roots: list[str] = []
    real = extract

    def spied(root: Path, **options: Any) -> Any:
        done = real(root, **options)
        roots.append(f"{root.name} {done.embedded}")
        return done

    monkeypatch.setattr(extraction, "extract", spied)
    return roots


def fit(support: Path | FeatureStore, **options: Any) -> Detector:
    options = {"backbones": "spectrum", "max_false_alarms": SHARE, "max_misses": SHARE, "quiet": True, **options}
    return fewshot.fit(support, **options)


# -- what it takes -----------------------------------------------------------------------------------------------------


def test_a_folder_without_class_words_is_natural_or_synthetic_as_its_option_says(given: Path, tmp_path: Path) -> None:
    found = fit(
        given / "support",
        naturals=given / "naturals",
        synthetics=given / "synthetics",
        out=tmp_path / "a.detector",
        thumbnails=True,
    )
    described = found.description
    assert (described.calibration.natural, described.calibration.sources) == (12, {"naturals": 12})
    assert (described.held_out_synthetic.synthetic, described.held_out_synthetic.sources) == (12, {"synthetics": 12})
    assert (described.alarm.kind, described.alarm.share, described.alarm.images) == ("certificate", SHARE, 12)
    assert (described.clear.kind, described.clear.images) == ("certificate", 12)
    assert described.held_out.kind == "held-out"
    assert len(found.thumbnails) == 32
    assert described.members[0].licence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.detector"]


def test_stores_folders_and_tables_give_the_same_detector(given: Path, tmp_path: Path) -> None:
    table = tmp_path / "naturals.csv"
    rows = "".join(f"{given / 'naturals' / f'{number}.png'},naturals,0\n" for number in sorted(range(12), key=str))
    table.write_text("path,source,synthetic\n" + rows)
    ways: list[tuple[Any, Any]] = [
        (given / "support", given / "naturals"),
        (given / "support.h5", given / "naturals"),
        (given / "support", given / "naturals.h5"),
        (FeatureStore(given / "support.h5"), given / "naturals.h5"),
        (given / "support", table),
    ]
    found = [fit(support, naturals=naturals) for support, naturals in ways]
    for other in found[1:]:
        np.testing.assert_allclose(other.support_scores, found[0].support_scores, atol=1e-6)
        np.testing.assert_allclose(np.sort(other.calibration_scores), np.sort(found[0].calibration_scores), atol=1e-6)
        assert other.description.alarm.value == pytest.approx(found[0].description.alarm.value, abs=1e-6)


def test_a_backbone_need_not_be_named_beside_a_store(given: Path) -> None:
    found = fit(given / "support.h5", backbones=(), naturals=given / "naturals")
    assert found.description.members[0].backbone == "spectrum"


def test_naturals_below_class_words_leave_the_synthetic_ones_out_and_say_so(given: Path, tmp_path: Path) -> None:
    naturals = write_support(tmp_path / "traffic", naturals=10, synthetics=3)
    for number, file in enumerate(sorted((naturals / "natural/camera").iterdir())):
        write_images(tmp_path / "one", 1, seed=50 + number)
        shutil.copy(tmp_path / "one/0.png", file)
    shutil.rmtree(tmp_path / "one")

    found = fit(given / "support", naturals=naturals)

    assert (found.description.calibration.natural, found.description.calibration.synthetic) == (10, 0)
    assert "3 synthetic images of --naturals took no part" in found.description.notes


def test_without_naturals_nothing_is_guaranteed_and_the_threshold_is_of_images_left_out(given: Path) -> None:
    found = fit(given / "support")
    alarm = found.description.alarm
    assert (alarm.kind, alarm.share, alarm.images, alarm.beyond) == ("estimate", None, 4, 0)
    synthetic = found.images.synthetic
    assert alarm.value == found.support_scores[~synthetic].max()
    own = found.score(found.images.features)[0]
    assert alarm.value != own[~synthetic].max()
    assert found.description.held_out.kind == "support"


def test_unreadable_images_are_listed_and_counted(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    support = shutil.copytree(given / "support", tmp_path / "support")
    naturals = shutil.copytree(given / "naturals", tmp_path / "naturals")
    (support / "natural/camera/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (naturals / "text.jpg").write_bytes(b"no image")

    found = fit(support, naturals=naturals, quiet=False)

    assert "1 image of SUPPORT could not be used and took no part" in found.description.notes
    assert "1 image of --naturals could not be used and took no part" in found.description.notes
    said = capsys.readouterr().err
    assert "natural/camera/broken.png: " in said
    assert "text.jpg: not-an-image" in said
    assert (found.description.support.natural, found.description.calibration.natural) == (4, 12)


def test_the_same_pixels_count_once(given: Path, tmp_path: Path) -> None:
    naturals = shutil.copytree(given / "naturals", tmp_path / "naturals")
    shutil.copy(naturals / "0.png", naturals / "again.png")
    found = fit(given / "support", naturals=naturals)
    assert found.description.calibration.natural == 12
    assert found.description.notes == ("1 image was given again with the same pixels and counted once",)


def test_duplicates_do_not_make_up_the_number_that_is_needed(given: Path, tmp_path: Path) -> None:
    naturals = write_images(tmp_path / "naturals", 8, seed=7)
    shutil.copy(naturals / "0.png", naturals / "again.png")
    with pytest.raises(OptionError, match="30 % needs 9, you gave 8; 50 % can be certified"):
        fit(given / "support", naturals=naturals)


def test_shots_are_drawn_from_the_support_by_the_seed(given: Path) -> None:
    found = [fit(given / "support.h5", shots=3, seed=seed) for seed in (0, 0, 1)]
    keys = [each.images.keys.tolist() for each in found]
    assert (found[0].description.support.natural, found[0].description.support.synthetic) == (3, 3)
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    with pytest.raises(InputError, match="--shots 9: the support has 4 natural images"):
        fit(given / "support.h5", shots=9)


def test_names_of_files_that_are_no_utf_8_are_taken(given: Path, tmp_path: Path) -> None:
    support = shutil.copytree(given / "support", tmp_path / "support")
    folder = os.fsencode(support / "natural/camera")
    Path(os.fsdecode(os.path.join(folder, b"caf\xe9.png"))).write_bytes((given / "naturals/0.png").read_bytes())  # noqa: PTH118
    Path(support / "natural/camera/two\nlines.png").write_bytes((given / "naturals/1.png").read_bytes())
    fit(support, out=tmp_path / "a.detector", thumbnails=True, name="na\tme")
    loaded = Detector.load(tmp_path / "a.detector")
    assert {"natural/camera/caf\\udce9.png", "natural/camera/two\\nlines.png"} <= set(loaded.images.keys)
    assert loaded.name == "na\\tme"


def test_the_same_images_give_the_same_arrays(given: Path) -> None:
    one, other = (fit(given / "support", naturals=given / "naturals") for _ in range(2))
    assert one.heads[0].state().arrays.keys() == other.heads[0].state().arrays.keys()
    for name, array in one.heads[0].state().arrays.items():
        assert np.array_equal(array, other.heads[0].state().arrays[name])
    for name in ("support_scores", "calibration_scores"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.description.alarm == other.description.alarm


# -- what it refuses ---------------------------------------------------------------------------------------------------


def test_an_empty_support_is_refused(tmp_path: Path) -> None:
    (tmp_path / "support/natural").mkdir(parents=True)
    with pytest.raises(InputError, match="no image was found"):
        fit(tmp_path / "support")


@pytest.mark.parametrize(("naturals", "synthetics", "lacking"), [(4, 0, "synthetic"), (0, 4, "natural")])
def test_a_support_of_one_class_is_refused(naturals: int, synthetics: int, lacking: str, tmp_path: Path) -> None:
    support = write_support(tmp_path / "support", naturals=naturals, synthetics=synthetics)
    with pytest.raises(InputError, match=f"the support has 4 images and no {lacking} one; give images of both"):
        fit(support)


def test_a_class_of_one_image_is_refused(tmp_path: Path) -> None:
    support = write_support(tmp_path / "support", synthetics=1)
    with pytest.raises(EpisodeError, match="4 natural and 1 synthetic images; at least 2 of each"):
        fit(support)


def test_naturals_that_are_also_in_the_support_are_refused_by_their_pixels(given: Path, tmp_path: Path) -> None:
    naturals = shutil.copytree(given / "naturals", tmp_path / "naturals")
    with Image.open(given / "support/natural/camera/1.png") as image:
        image.save(naturals / "renamed.bmp")  # another name and another file of the same pixels
    with pytest.raises(
        InputError, match=r"1 of 13 images of --naturals are in the support as well .*'renamed.bmp' has"
    ):
        fit(given / "support", naturals=naturals)


def test_the_same_pixels_in_both_classes_are_refused(given: Path, tmp_path: Path) -> None:
    support = shutil.copytree(given / "support", tmp_path / "support")
    shutil.copy(support / "natural/camera/0.png", support / "synthetic/sd3/copied.png")
    with pytest.raises(InputError, match=r"camera/0.png' is given as natural and .*copied.png' as synthetic"):
        fit(support)


@pytest.mark.parametrize("kind", ["naturals", "naturals.h5"])
def test_too_few_naturals_are_refused_with_the_arithmetic_before_anything_is_embedded(
    kind: str, given: Path, tmp_path: Path, embedded: list[str]
) -> None:
    with pytest.raises(OptionError, match="1 % needs 299, you gave 12; 30 % can be certified") as error:
        fit(given / "support", naturals=given / kind, max_false_alarms=0.01, out=tmp_path / "a.detector")
    assert "--accept-weaker" in str(error.value)
    assert embedded == []
    assert list(tmp_path.iterdir()) == []


def test_the_best_that_can_be_certified_is_accepted_when_told_to(given: Path) -> None:
    found = fit(given / "support", naturals=given / "naturals", max_false_alarms=0.01, accept_weaker=True)
    alarm = found.description.alarm
    assert (alarm.kind, alarm.share, alarm.wanted) == ("certificate", 0.3, 0.01)


def test_naturals_that_certify_nothing_are_refused_also_when_weaker_is_accepted(
    given: Path, tmp_path: Path, embedded: list[str]
) -> None:
    naturals = write_images(tmp_path / "naturals", 3, seed=9)
    with pytest.raises(OptionError, match="you gave 3; nothing can be certified") as error:
        fit(given / "support", naturals=naturals, accept_weaker=True)
    assert "accept-weaker" not in str(error.value)
    assert embedded == []


@pytest.mark.parametrize("option", ["max_false_alarms", "max_misses", "unknown_rate"])
@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_promises_nothing_is_refused_before_work(
    option: str, share: float, given: Path, embedded: list[str]
) -> None:
    with pytest.raises(OptionError, match=f"--{option.replace('_', '-')}: a share of"):
        fit(given / "support", **{option: share})
    assert embedded == []


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"heads": "swm"}, UnknownNameError, "did you mean 'svm'"),
        ({"heads": ()}, OptionError, "no head is named"),
        ({"combine": "median"}, UnknownNameError, "way to combine"),
        ({"seed": -1}, OptionError, "--seed"),
        ({"backbones": "spectrun"}, FewshotError, "spectrum"),
        ({"backbones": ()}, OptionError, "--backbone"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_work(
    options: dict[str, Any], error: type[Exception], reason: str, given: Path, tmp_path: Path, embedded: list[str]
) -> None:
    with pytest.raises(error, match=reason):
        fit(given / "support", out=tmp_path / "a.detector", **options)
    assert embedded == []
    assert list(tmp_path.iterdir()) == []


def test_a_backbone_that_the_store_lacks_is_named(given: Path) -> None:
    with pytest.raises(OptionError, match="has the backbones spectrum and not npr"):
        fit(given / "support.h5", backbones=("spectrum", "npr"))
    with pytest.raises(OptionError, match="not spectrun"):
        fit(given / "support.h5", backbones="spectrun")


def test_stores_that_were_made_differently_are_refused(given: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    embed(
        given / "naturals",
        backbones="spectrum",
        out=other,
        one_class=True,
        unlabelled="natural",
        match_format="jpeg:75",
        quiet=True,
    )
    with pytest.raises(StoreError, match="produced differently"):
        fit(given / "support.h5", naturals=other)


# -- what it leaves ----------------------------------------------------------------------------------------------------


def test_after_a_refusal_the_corrected_call_embeds_nothing_again(
    given: Path, tmp_path: Path, embedded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    naturals = shutil.copytree(given / "naturals", tmp_path / "naturals")
    shutil.copy(given / "support/natural/camera/0.png", naturals / "shared.png")
    out = tmp_path / "a.detector"
    with pytest.raises(InputError, match="in the support as well"):
        fit(given / "support", naturals=naturals, out=out, quiet=False)
    assert f"what was embedded is kept in {out}.parts" in capsys.readouterr().err
    assert embedded == ["support 8", "naturals 13"]
    (naturals / "shared.png").unlink()

    fit(given / "support", naturals=naturals, out=out)

    assert embedded[2] == "support 0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.detector", "naturals"]


def test_an_image_that_was_exchanged_meanwhile_is_embedded_again(given: Path, tmp_path: Path) -> None:
    naturals = write_images(tmp_path / "naturals", 12, seed=2)
    shutil.copy(given / "support/natural/camera/0.png", naturals / "0.png")
    with pytest.raises(InputError, match="in the support as well"):
        fit(given / "support", naturals=naturals, out=tmp_path / "a.detector")
    shutil.copy(given / "naturals/0.png", naturals / "0.png")
    found = fit(given / "support", naturals=naturals, out=tmp_path / "a.detector")
    assert found.description.calibration.natural == 12


def test_only_a_detector_is_written_over(given: Path, tmp_path: Path, embedded: list[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not a detector of fewshot"):
        fit(given / "support", out=tmp_path / "notes.txt")
    with pytest.raises(OutputError, match="read by this command"):
        fit(given / "support.h5", out=given / "support.h5")
    with pytest.raises(OutputError, match="is a folder"):
        fit(given / "support", out=tmp_path)
    with pytest.raises(OutputError, match="there is no folder"):
        fit(given / "support", out=tmp_path / "none/a.detector")
    assert embedded == []
    assert (tmp_path / "notes.txt").read_text() == "mine"
    first = fit(given / "support", out=tmp_path / "a.detector")
    second = fit(given / "support", naturals=given / "naturals", out=tmp_path / "a.detector")
    assert Detector.load(tmp_path / "a.detector").digest == second.digest != first.digest


def test_a_folder_of_somebody_else_is_not_used_for_unfinished_work(given: Path, tmp_path: Path) -> None:
    mine = tmp_path / "a.detector.parts"
    mine.mkdir()
    (mine / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        fit(given / "support", out=tmp_path / "a.detector")
    assert (mine / "diary.txt").read_text() == "mine"
