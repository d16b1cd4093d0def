"""A scorer's networks and decoding processes stay between lists of images, and what it says is what was fitted."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fewshot
from fewshot.core.errors import InputError, OptionError, StoreError
from fewshot.detector.detector import Detector
from fewshot.detector.scorer import Scorer


def write_images(folder: Path, count: int, *, seed: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = np.clip(128 + 40 * rng.normal(size=(32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("fitted")
    write_images(folder / "support/natural/camera", 3, seed=0)
    write_images(folder / "support/synthetic/sd3", 3, seed=1)
    naturals = write_images(folder / "naturals", 9, seed=2)
    fewshot.fit(
        folder / "support",
        backbones="spectrum",
        naturals=naturals,
        max_false_alarms=0.3,
        out=folder / "a.detector",
        quiet=True,
    )
    return Detector.load(folder / "a.detector")


@pytest.fixture(scope="module")
def files(found: Detector) -> list[Path]:
    assert found.path is not None
    return [found.path.parent / "naturals" / f"{number}.png" for number in range(9)]


@pytest.fixture(scope="module")
def scorer(found: Detector) -> Iterator[Scorer]:
    with Scorer(found, workers=1) as scorer:
        yield scorer


def scores(judged: list[Any]) -> list[float]:
    return [each.judgement.score for each in judged]


def test_calibration_images_get_the_scores_that_certified(found: Detector, scorer: Scorer, files: list[Path]) -> None:
    keys = found.images.keys[found.images.rows("calibration")].tolist()
    expected = dict(zip(keys, found.calibration_scores.tolist(), strict=True))
    for file, score in zip(files, scores(scorer.files(files)), strict=True):
        assert score == pytest.approx(expected[file.name], abs=1e-6)


def decoders() -> set[int]:
    """The processes of ours that decode."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"decode_pool" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
    return found


def test_the_decoding_processes_stay_between_lists(scorer: Scorer, files: list[Path]) -> None:
    first = scores(scorer.files(files[:4]))
    processes = decoders()
    again = scores(scorer.files([*files[4:], *files[:4]]))[-4:]
    assert again == pytest.approx(first, abs=1e-6)
    assert len(processes) == 1
    assert decoders() == processes


def test_a_decoding_process_that_died_meanwhile_is_replaced(scorer: Scorer, files: list[Path]) -> None:
    first = scores(scorer.files(files))
    for process in decoders():
        os.kill(process, signal.SIGKILL)
    assert scores(scorer.files(files)) == first


def test_a_stream_that_is_given_up_leaves_nothing_for_the_next(scorer: Scorer, files: list[Path]) -> None:
    first = scores(scorer.files(files))
    with closing(scorer.stream(iter(files * 3))) as stream:  # type: ignore[type-var]  # a generator
        next(stream)
    assert scores(scorer.files(files)) == first
    assert scorer.files([]) == []


def test_what_is_no_image_is_listed_in_its_place(scorer: Scorer, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    judged = scorer.files([files[0], tmp_path / "text.png", tmp_path / "none.png", tmp_path, files[1]])
    assert [each.judgement is not None for each in judged] == [True, False, False, False, True]
    assert all(each.failure for each in judged[1:4])
    assert judged[1].failure.startswith("not-an-image")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "YCbCr", "HSV", "I;16", "F"])
def test_decoded_images_of_any_mode_are_judged(mode: str, scorer: Scorer, files: list[Path]) -> None:
    with Image.open(files[0]) as image:
        decoded = image.convert("L").convert(mode) if mode in ("I;16", "F") else image.convert(mode)
    (judged,) = scorer.images([decoded])
    assert judged.image == "image 1"
    assert judged.judgement is not None, judged.failure
    if mode == "RGB":
        assert judged.judgement.score == scores(scorer.files(files[:1]))[0]


def test_a_decoded_image_that_cannot_be_read_on_is_listed(scorer: Scorer, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(files[0].read_bytes()[:1500])
    with Image.open(tmp_path / "cut.png") as cut:
        judged = scorer.images([cut, files[0]])
    assert judged[0].judgement is None
    assert judged[0].failure
    assert judged[1].judgement is not None


def test_what_is_neither_path_nor_image_is_refused(scorer: Scorer) -> None:
    with pytest.raises(OptionError, match="image 1 is a float; give a path or a PIL image"):
        scorer.images([1.5])


def test_predict_takes_one_or_several(found: Detector, files: list[Path], tmp_path: Path) -> None:
    one = found.predict(files[0], workers=0)
    several = found.predict([files[0], files[1]], workers=0)
    assert several[0].judgement.score == pytest.approx(one.score, abs=1e-6)
    assert [each.image for each in several] == [str(file) for file in files[:2]]
    with pytest.raises(InputError, match=r"none.png cannot be judged"):
        found.predict(tmp_path / "none.png", workers=0)


def test_another_input_rule_is_refused(found: Detector) -> None:
    import msgspec

    (member,) = found.description.members
    provenance = {**member.provenance, "input": "other pixels"}
    provenance["reference"] = {**provenance["reference"], "input": "other pixels"}
    member = msgspec.structs.replace(member, provenance=provenance)
    changed = Detector(
        **{
            **{name: getattr(found, name) for name in Detector.__dataclass_fields__},
            "description": msgspec.structs.replace(found.description, members=(member,)),
        }
    )
    with pytest.raises(StoreError, match="input"):
        Scorer(changed)
