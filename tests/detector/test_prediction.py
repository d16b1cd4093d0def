"""The whole job of ``predict``: images, stores, logs, files and failures; the same scores whichever way they come."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import fewshot
from fewshot.core.errors import InputError, OptionError, OutputError
from fewshot.core.files import file_sha256
from fewshot.detector.audit_log import read_audit_log
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.detector.prediction import PredictSettings, predict
from fewshot.detector.stability import DEFAULT
from fewshot.detector.tally import Tally
from tests.detector.spectrum_detectors import fit_detector, make_images, make_inbox, make_support


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return fit_detector(tmp_path_factory.mktemp("fit"))


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_inbox(tmp_path / "inbox").relative_to(tmp_path)


def judge(detector: Detector, *images: Path | str, **options: Any) -> tuple[list[Judged], Tally]:
    found: list[Judged] = []
    files = {name: options.pop(name) for name in ("out", "log") if name in options}
    tally = predict(detector, images, PredictSettings(**options), show=found.extend, quiet=True, **files)
    return found, tally


def scores(found: Sequence[Judged]) -> dict[str, float]:
    return {Path(one.image).name: one.judgement.score for one in found if one.judgement is not None}


def test_every_image_of_a_folder_is_judged_in_order_with_failures_among_them(fitted: Detector, inbox: Path) -> None:
    found, tally = judge(fitted, inbox)

    assert [one.image for one in found] == [
        *(f"inbox/{number:03d}.png" for number in range(8)),
        "inbox/bad.png",
        *(f"inbox/below/{number:03d}.png" for number in range(7)),
    ]
    assert found[8] == Judged("inbox/bad.png", None, failure="not-an-image: 4 bytes of no known format")
    assert all(one.judgement.verdict == "synthetic" for one in found[9:] if one.judgement)
    assert not any(one.judgement.verdict == "synthetic" for one in found[:8] if one.judgement)
    assert tally.verdicts.total() == 15
    assert (tally.images, tally.verdicts["synthetic"], tally.failed) == (16, 7, 1)
    assert tally.left_out == {".txt: not the suffix of an image": 1}
    assert tally.line().startswith("16 images = 7 synthetic + ")


def test_stored_features_get_the_verdicts_of_their_images(fitted: Detector, inbox: Path) -> None:
    store = fewshot.embed(
        inbox,
        backbones="spectrum",
        out="i.h5",
        one_class=True,
        unlabelled="natural",
        views=["clean", *DEFAULT],
        quiet=True,
    )

    of_images, counted = judge(fitted, inbox, stability=True)
    of_rows, tally = judge(fitted, store.path, stability=True)

    assert tally == replace(counted, left_out={}, failures={"bad.png": counted.failures["inbox/bad.png"]})
    rows = {Path(one.image).name if "/" not in one.image else one.image: one for one in of_rows}
    for one in of_images:
        row = rows[one.image.removeprefix("inbox/")]
        assert replace(row, image="") == replace(one, image="")


def test_images_are_decoded_re_encoded_and_stored_as_those_of_the_fit(tmp_path: Path, inbox: Path) -> None:
    pixels = {"match_format": "jpeg:90", "precision": "bf16", "store_dtype": "float16"}
    detector = fit_detector(tmp_path / "fit", embed_options=pixels)
    options: dict[str, Any] = {"one_class": True, "unlabelled": "natural", "quiet": True, **pixels}
    store = fewshot.embed(inbox, backbones="spectrum", out="i.h5", **options)

    of_images, _ = judge(Detector.load(detector.path or ""), inbox)
    of_rows, _ = judge(detector, store.path)

    assert scores(of_images) == scores(of_rows)
    assert len(scores(of_images)) == 8  # of distinct names


def test_every_verdict_is_logged_with_hashes_thresholds_and_time(fitted: Detector, inbox: Path) -> None:
    found, _ = judge(fitted, inbox, log=Path("audit.jsonl"))
    judge(fitted, "inbox/000.png", log=Path("audit.jsonl"))

    entries = read_audit_log("audit.jsonl")
    assert [entry.image for entry in entries] == [*(one.image for one in found if one.judgement), "inbox/000.png"]
    assert fitted.path is not None
    for entry, one in zip(entries, [one for one in found if one.judgement], strict=False):
        assert one.judgement is not None
        assert entry.image_sha256 == file_sha256(Path(entry.image))
        assert entry.detector_sha256 == file_sha256(fitted.path)
        assert (entry.score, entry.verdict, entry.p_value) == (
            one.judgement.score,
            one.judgement.verdict,
            one.judgement.p_value,
        )
        assert entry.unknown == one.judgement.unknown
        assert (entry.alarm, entry.clear) == (fitted.description.alarm.value, fitted.description.clear.value)
        assert entry.time.endswith("+00:00")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_verdicts_are_written_as_they_are_shown(fitted: Detector, inbox: Path, suffix: str) -> None:
    found, _ = judge(fitted, inbox, out=Path(f"v{suffix}"), stability=True)

    path = Path(f"v{suffix}")
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        frame = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
        rows = [row.to_dict() for _, row in frame.iterrows()]
    assert [row["image"] for row in rows] == [one.image for one in found]
    assert [row.get("score") for row in rows if row["image"] != "inbox/bad.png"] == [
        one.judgement.score for one in found if one.judgement
    ]
    assert rows[8]["failure"] == found[8].failure


def test_a_verdict_that_re_encoding_flips_becomes_unsure_and_is_counted(fitted: Detector, inbox: Path) -> None:
    plain, _ = judge(fitted, inbox)
    stable, tally = judge(fitted, inbox, stability=True)

    assert scores(plain) == scores(stable)
    flipped = 0
    for before, after in zip(plain, stable, strict=True):
        if before.judgement is None or after.judgement is None:
            continue
        opposite = {"synthetic": "natural", "natural": "synthetic"}.get(before.judgement.verdict, "")
        views = [view for view, (verdict, _) in after.judgement.under.items() if verdict == opposite]
        assert list(after.judgement.under) == list(DEFAULT)
        assert after.judgement.verdict == ("unsure" if views else before.judgement.verdict)
        assert not views or after.judgement.reason.endswith(f"not under {', '.join(views)}")
        flipped += bool(views)
    assert tally.unstable == flipped > 0


def test_content_credentials_stand_beside_the_verdict_and_never_change_it(
    fitted: Detector, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    class Stand:
        def __init__(self, *, trust_list: Path | None = None) -> None:
            assert trust_list is None

        def __enter__(self) -> "Stand":
            return self

        def __exit__(self, *_: object) -> None:
            seen.append(Path("closed"))

        def evidence(self, path: Path) -> dict[str, Any]:
            seen.append(path)
            return {"sentences": [f"no credentials in {path.name}"]}

    module = type(json)("fewshot.detector.credentials")
    module.Credentials = Stand  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "fewshot.detector.credentials", module)

    plain, _ = judge(fitted, inbox)
    found, _ = judge(fitted, inbox, c2pa=True, out=Path("v.jsonl"))

    assert [replace(one, provenance={}) for one in found] == plain
    assert seen == [*(Path(one.image) for one in found if one.judgement), Path("closed")]
    first = json.loads(Path("v.jsonl").read_text().splitlines()[0])
    assert first["provenance"] == {"sentences": ["no credentials in 000.png"]}


def test_content_credentials_are_of_files_and_not_of_stores(fitted: Detector, inbox: Path) -> None:
    store = fewshot.embed(make_support(Path("s")), backbones="spectrum", out="s.h5", quiet=True)

    with pytest.raises(OptionError, match=r"--c2pa reads image files, and .*s\.h5 is a store"):
        judge(fitted, store.path, c2pa=True)


def test_strict_is_an_error_after_all_is_written_and_logged(fitted: Detector, inbox: Path) -> None:
    with pytest.raises(InputError, match=r"1 of 16 images could not be judged \(--strict; the first, inbox/bad\.png: "):
        judge(fitted, inbox, strict=True, out=Path("v.csv"), log=Path("audit.jsonl"))

    assert len(pd.read_csv("v.csv")) == 16
    assert len(read_audit_log("audit.jsonl")) == 15


def test_when_no_image_could_be_judged_that_is_an_error(fitted: Detector, inbox: Path) -> None:
    with pytest.raises(
        InputError, match=r"none of the 2 images could be judged \(the first, none\.png: missing: there"
    ):
        judge(fitted, "none.png", "inbox/bad.png", out=Path("v.csv"))

    assert pd.read_csv("v.csv")["image"].tolist() == ["none.png", "inbox/bad.png"]


def test_a_file_of_another_detector_kind_is_never_written_over(fitted: Detector, inbox: Path) -> None:
    Path("mine.csv").write_text("precious")
    Path("audit.jsonl").write_text("precious")
    shutil.copy("inbox/000.png", "own.csv")
    for files, said in (
        ({"out": Path("mine.csv")}, r"mine\.csv is there already and is not a table of verdicts"),
        ({"log": Path("audit.jsonl")}, r"audit\.jsonl is there already and is not an audit log"),
        ({"out": Path("own.csv")}, r"own\.csv is read by this command"),
        ({"out": Path("v.jsonl"), "log": Path("v.jsonl")}, r"v\.jsonl is to be written by -o and by --log"),
        ({"out": Path("none/v.csv")}, "there is no folder none"),
    ):
        with pytest.raises(OutputError, match=said):
            judge(fitted, "own.csv", "inbox", **files)
    assert Path("mine.csv").read_text() == Path("audit.jsonl").read_text() == "precious"


def test_an_earlier_log_is_no_file_of_verdicts(fitted: Detector, inbox: Path) -> None:
    judge(fitted, inbox, log=Path("v.jsonl"))

    with pytest.raises(OutputError, match="is not a file of verdicts"):
        judge(fitted, inbox, out=Path("v.jsonl"))


def test_interrupted_it_keeps_the_log_and_says_how_to_go_on(
    fitted: Detector, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_images(Path("many"), 300, synthetic=False, seed=9)

    def interrupt(some: Sequence[Judged]) -> None:
        if some[-1].image == str(images[255]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        predict(fitted, images, show=interrupt, quiet=True, out=Path("v.csv"), log=Path("audit.jsonl"))

    assert str(raised.value) == (
        "interrupted after 256 images, in the order given; their verdicts are kept in audit.jsonl, and v.csv was not "
        "written. Run the same command again to judge all of them, or give the rest as a list on -"
    )
    assert len(read_audit_log("audit.jsonl")) == 256
    assert not Path("v.csv").exists()


def test_an_endless_list_is_judged_as_it_comes(fitted: Detector, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []

    class Endless:
        def read1(self, _: int = -1, /) -> bytes:
            given.append(b"inbox/000.png\n")
            return given[-1]

    class Enough(Exception):
        pass

    shown: list[Judged] = []

    def show(some: Sequence[Judged]) -> None:
        shown.extend(some)
        assert len(given) == len(shown)  # nothing was taken before what came earlier was shown
        if len(shown) == 3:
            raise Enough

    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": Endless()}))
    with pytest.raises(Enough):
        predict(fitted, ["-"], show=show, quiet=True)


def test_stores_and_images_are_judged_in_the_order_given(fitted: Detector, inbox: Path) -> None:
    store = fewshot.embed(make_support(Path("s")), backbones="spectrum", out="s.h5", quiet=True)

    found, _ = judge(fitted, "inbox/000.png", store.path, "inbox/001.png", "inbox/000.png")

    assert [one.image for one in found[:1] + found[-2:]] == ["inbox/000.png", "inbox/001.png", "inbox/000.png"]
    assert len(found) == 23
    assert found[0].image == found[-1].image
    assert found[0].pixel_id == found[-1].pixel_id


def test_a_log_is_not_opened_when_nothing_can_be_judged(fitted: Detector, inbox: Path) -> None:
    Path("empty").mkdir()

    with pytest.raises(InputError, match="nothing to predict: no image was found in empty"):
        judge(fitted, "inbox", "empty", log=Path("audit.jsonl"))

    assert not Path("audit.jsonl").exists()


def test_python_gives_one_judgement_of_an_image_and_a_list_of_many(fitted: Detector, inbox: Path) -> None:
    detector = fewshot.Detector.load(str(fitted.path))
    found, _ = judge(fitted, "inbox/000.png", "inbox/bad.png")
    with Image.open("inbox/000.png") as image:
        image.load()

    of_path, of_image = detector.predict("inbox/000.png"), detector.predict(image)
    of_many = detector.predict([Path("inbox/000.png"), image, "inbox/bad.png"])

    expected = found[0].judgement
    assert expected is not None
    for one in (of_path, of_image):
        assert (one.verdict, one.score) == (expected.verdict, pytest.approx(expected.score, rel=1e-12))
    assert [one.image for one in of_many] == ["inbox/000.png", "image 2", "inbox/bad.png"]
    assert [one.judgement and one.judgement.verdict for one in of_many] == [of_path.verdict, of_path.verdict, None]
    assert of_many[2].failure == "not-an-image: 4 bytes of no known format"
    assert detector.predict([]) == []
    with pytest.raises(InputError, match=r"inbox/bad\.png cannot be judged: not-an-image"):
        detector.predict("inbox/bad.png")
    with pytest.raises(OptionError, match="image 1 is a ndarray; give a path or a PIL image"):
        detector.predict([np.zeros((8, 8, 3), np.uint8)])
