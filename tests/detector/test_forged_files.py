"""Files that are no detector, damaged ones, and forged ones with a right digest: each is refused by its sentence."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fewshot.core.errors import FewshotError, InputError, WeightsError
from fewshot.detector import archive, content
from fewshot.detector.archive import pack, unpack
from fewshot.detector.detector import Detector
from fewshot.heads import state
from tests.detector import made_detectors as made

Members = dict[str, bytes]
Forge = Callable[[Any], object]
WHOLE = made.detector(thumbnails=True).to_bytes()
MEMBERS = unpack(WHOLE, where="x")


def forged(**changed: bytes | None) -> bytes:
    """The bytes of a file with a right digest and other members; None leaves one out."""
    members = {**MEMBERS, **changed}
    return pack({name: value for name, value in members.items() if value is not None})


def described(change: Forge) -> bytes:
    """The bytes of a file whose description was changed in place."""
    description = json.loads(MEMBERS["detector.json"])
    change(description)
    return forged(**{"detector.json": json.dumps(description).encode()})


def listed(change: Forge) -> bytes:
    columns = json.loads(MEMBERS["images.json"])
    change(columns)
    return forged(**{"images.json": json.dumps(columns).encode()})


def with_arrays(change: Forge) -> bytes:
    arrays = load(MEMBERS["arrays.safetensors"])
    change(arrays)
    return forged(**{"arrays.safetensors": save(arrays)})


def refused(encoded: bytes, reason: str) -> None:
    with pytest.raises(FewshotError, match=reason) as error:
        Detector.from_bytes(encoded, where="x.detector")
    assert "x.detector" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_found_wherever_it_lies() -> None:
    rng = np.random.default_rng(0)
    places = np.unique(
        np.concatenate([np.linspace(0, len(WHOLE) - 1, 300, dtype=int), range(len(WHOLE) - 110, len(WHOLE))])
    )
    for place in places.tolist():
        damaged = bytearray(WHOLE)
        damaged[place] ^= 1 << int(rng.integers(8))
        refused(bytes(damaged), "damaged|not a detector|does not end as|of version")


def test_a_file_cut_short_at_any_length_is_refused() -> None:
    for length in np.linspace(0, len(WHOLE) - 1, 200, dtype=int).tolist():
        refused(WHOLE[:length], "cut short|not a detector|damaged")
    refused(WHOLE + b"\n", "damaged|does not end as")


@pytest.mark.parametrize("version", [0, 3, 999999999])
def test_another_version_is_refused_with_both(version: int) -> None:
    older = re.sub(rb"fewshot-detector 1 ", f"fewshot-detector {version} ".encode(), WHOLE)
    refused(older, f"of version {version}, and this fewshot reads versions 1 to 2")


def test_another_zip_archive_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as other:
        other.writestr("a.txt", "a")
    refused(stream.getvalue(), "another zip archive")
    refused(b"", "not a detector")
    refused(b"\x89HDF\r\n\x1a\n" + bytes(1000), "not a detector")


def test_no_file_and_no_regular_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.detector", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="cannot be read"):
            Detector.load(path)


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).hexdigest().encode()


def archive_of(write: Callable[[zipfile.ZipFile], None], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made_archive:
        write(made_archive)
        made_archive.comment = f"fewshot-detector 1 {'0' * 64}".encode()
    return sealed(stream.getvalue()[:-64])


def test_a_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = archive_of(lambda made: made.writestr("detector.json", bytes(200 << 20)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    refused(bomb, "lists more than it holds|compressed")


def test_a_size_that_is_declared_and_not_there_is_refused() -> None:
    body = bytearray(WHOLE[:-64])
    entry = body.index(b"PK\x01\x02")
    body[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")  # the first member's size
    refused(sealed(bytes(body)), "lists more than it holds")


def test_a_name_twice_is_refused() -> None:
    def twice(made: zipfile.ZipFile) -> None:
        for _ in range(2):
            with pytest.warns(UserWarning, match="Duplicate") if made.namelist() else _nothing():
                made.writestr("detector.json", b"{}")

    refused(archive_of(twice), "a name twice")


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    "name", ["../detector.json", "/etc/passwd", "code.py", "thumbnails/../a.jpg", "thumbnails/1.jpg"]
)
def test_a_member_of_another_name_is_refused(name: str) -> None:
    refused(forged(**{name: made.JPEG}), "beside or instead of|no thumbnail")


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_a_missing_or_empty_member_is_refused(name: str) -> None:
    if not name.startswith("thumbnails"):
        refused(forged(**{name: None}), "not a detector that fewshot wrote")
    refused(forged(**{name: b""}), "not a detector that fewshot wrote|not a head|no small JPEG")


@pytest.mark.parametrize(
    ("number", "picture"),
    [
        (0, b"<svg onload=alert(1)>"),
        (0, b"\xff\xd8\xff" + bytes(1 << 17) + b"\xff\xd9"),
        (9999, made.JPEG),
        (0, b"\xff\xd8\xff"),
    ],
)
def test_a_thumbnail_that_is_none_is_refused(number: int, picture: bytes) -> None:
    refused(forged(**{f"thumbnails/{number:07d}.jpg": picture}), "no small JPEG")


def set_to(*path: str | int, value: Any) -> Forge:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


def swapped_thresholds(description: dict[str, Any]) -> None:
    description["alarm"], description["clear"] = description["clear"], description["alarm"]


DESCRIPTIONS: dict[str, tuple[Forge, str]] = {
    "no format": (set_to("format", value="other"), "Invalid enum value"),
    "later version inside": (set_to("version", value=2), "of version 2"),
    "version 0 inside": (set_to("version", value=0), "version"),
    "no member": (set_to("members", value=[]), "members"),
    "member twice": (lambda all_: all_["members"].append(all_["members"][0]), "instead of what a detector is|one name"),
    "huge dimension": (set_to("members", 0, "dimension", value=1 << 40), "dimension"),
    "other dimension": (set_to("members", 0, "dimension", value=7), "features_0 is"),
    "other type": (set_to("members", 0, "dtype", value="float16"), "features_0 is"),
    "object type": (set_to("members", 0, "dtype", value="object"), "dtype"),
    "other head": (set_to("members", 0, "head", value="svm"), "is described"),
    "other views": (set_to("members", 0, "views", value=["jpeg:75"]), "is described"),
    "no views": (set_to("members", 0, "views", value=[]), "views"),
    "scale 0": (set_to("members", 0, "scale", value=0.0), "scale"),
    "provenance of other types": (set_to("members", 0, "provenance", "weights", value=[1]), "weights"),
    "batch of text": (set_to("members", 0, "provenance", "batch_size", value="many"), "batch_size"),
    "name of lines": (set_to("name", value="a\nb"), "control characters"),
    "name that rings": (set_to("members", 0, "backbone", value="a\x1b[2J"), "control|fits a line"),
    "licence of lines": (set_to("members", 0, "licence", value="a\nb"), "control characters"),
    "note of lines": (set_to("notes", value=["a\x1b[2J"]), "control characters"),
    "parent": (set_to("parent", value="../../x"), "parent"),
    "negative seed": (set_to("seed", value=-1), "seed"),
    "rate 0": (set_to("unknown_rate", value=0.0), "unknown_rate"),
    "rate 1": (set_to("unknown_rate", value=1.0), "unknown_rate"),
    "support count": (set_to("support", "natural", value=1000), "counts other images"),
    "calibration count": (set_to("calibration", "natural", value=1000), "counts other images"),
    "sources": (set_to("calibration", "sources", value={"everything": 60}), "counts other images"),
    "alarm higher": (set_to("alarm", "value", value=0.5), "does not follow from its scores"),
    "alarm of more images": (set_to("alarm", "images", value=1000), "counts other images"),
    "alarm promises more": (set_to("alarm", "share", value=0.0001), "promises more than 60 images can"),
    "alarm surer": (set_to("alarm", "confidence", value=0.9999), "promises more than 60 images can"),
    "alarm promises nothing by name": (set_to("alarm", "kind", value="estimate"), "counts other images|promises"),
    "certificate without share": (set_to("alarm", "share", value=None), "promises what its kind does not"),
    "alarm of another side": (set_to("alarm", "side", value="below"), "counts other images"),
    "alarm beyond": (set_to("alarm", "beyond", value=59), "does not follow"),
    "share of 2": (set_to("alarm", "share", value=2.0), "share"),
    "clear lower": (set_to("clear", "value", value=-9.0), "does not follow from its scores"),
    "thresholds swapped": (swapped_thresholds, "counts other images"),
    "AUROC": (set_to("held_out", "auroc", value=1.0), "AUROC"),
    "AUROC of others": (set_to("held_out", "kind", value="support"), "AUROC"),
    "missing field": (lambda all_: all_.pop("alarm"), "alarm"),
    "list": (set_to("alarm", value=[]), "alarm|array|object"),
}


@pytest.mark.parametrize("what", DESCRIPTIONS)
def test_a_description_that_does_not_follow_from_the_rest_is_refused(what: str) -> None:
    change, reason = DESCRIPTIONS[what]
    refused(described(change), reason)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '"1"', "null", "true"])
def test_a_threshold_that_is_no_number_is_refused(value: str) -> None:
    text = re.sub(rb'("alarm": \{\s*"value": )[^,]+', lambda found: found[1] + value.encode(), MEMBERS["detector.json"])
    assert text != MEMBERS["detector.json"]
    refused(forged(**{"detector.json": text}), "not a detector that fewshot wrote")


def relabelled(columns: dict[str, Any]) -> None:
    columns["synthetic"][0] = True


def in_both(columns: dict[str, Any]) -> None:
    columns["id"][columns["role"].index("calibration")] = columns["id"][0]


COLUMNS: dict[str, tuple[Forge, str]] = {
    "shorter": (lambda columns: columns["key"].pop(), "differ in length"),
    "none": (lambda columns: [column.clear() for column in columns.values()], "there are none"),
    "role": (set_to("role", 0, value="judge"), "has a role"),
    "other role": (set_to("role", 0, value="calibration"), "and there are"),
    "class": (relabelled, "counts other images"),
    "key of lines": (set_to("key", 0, value="a\nb"), "control characters"),
    "key of numbers": (set_to("key", 0, value=1), "key"),
    "in support and calibration": (in_both, "among those that certify"),
    "missing column": (lambda columns: columns.pop("id"), "id"),
}


@pytest.mark.parametrize("what", COLUMNS)
def test_images_that_are_not_those_of_the_rest_are_refused(what: str) -> None:
    change, reason = COLUMNS[what]
    refused(listed(change), reason)


def nan_feature(arrays: dict[str, np.ndarray]) -> None:
    arrays["features_0"][3, 2] = np.nan


def backwards(arrays: dict[str, np.ndarray]) -> None:
    arrays["probability_scores"] = arrays["probability_scores"][::-1].copy()


ARRAYS: dict[str, tuple[Forge, str]] = {
    "NaN": (nan_feature, "not finite"),
    "missing": (lambda arrays: arrays.pop("known_scores"), "not those of a detector"),
    "one more": (set_to("code", value=np.zeros(3)), "not those of a detector"),
    "features of other rows": (set_to("features_0", value=np.zeros((3, 6), np.float32)), "features_0 is"),
    "features of integers": (set_to("features_0", value=np.zeros((102, 6), np.int64)), "features_0 is"),
    "scores in single": (set_to("calibration_scores", value=np.zeros(60, np.float32)), "not a list of float64"),
    "scores in two dimensions": (set_to("calibration_scores", value=np.zeros((60, 1))), "not a list of float64"),
    "fewer scores": (set_to("calibration_scores", value=np.zeros(59)), "and there are 60"),
    "lower scores": (lambda arrays: arrays["calibration_scores"].__isub__(5.0), "does not follow from its scores"),
    "no known scores": (set_to("known_scores", value=np.zeros(0)), "empty or not ascending"),
    "known scores downwards": (set_to("known_scores", value=np.array([2.0, 1.0])), "not ascending"),
    "no probabilities": (set_to("probability_scores", value=np.zeros(0)), "no intervals"),
    "probabilities beyond 1": (lambda arrays: arrays["probability_high"].__iadd__(1.0), "no intervals"),
    "probabilities the wrong way round": (backwards, "no intervals"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_that_are_not_those_of_a_detector_are_refused(what: str) -> None:
    change, reason = ARRAYS[what]
    refused(with_arrays(change), reason)


def test_a_header_that_declares_more_than_is_there_is_refused() -> None:
    header = json.dumps({"support_scores": {"dtype": "F64", "shape": [1 << 60], "data_offsets": [0, 1 << 63]}}).encode()
    refused(forged(**{"arrays.safetensors": len(header).to_bytes(8, "little") + header}), "not a detector")
    refused(forged(**{"arrays.safetensors": (1 << 62).to_bytes(8, "little") + b"{}"}), "not a detector")


def head_of(**settings: Any) -> bytes:
    found = state.from_bytes(MEMBERS["head_0.safetensors"])
    return state.to_bytes(state.HeadState(found.arrays, {**found.settings, **settings}))


HEADS: dict[str, tuple[bytes, str]] = {
    "another dimension": (
        state.to_bytes(made.head("prototype").fit(np.eye(4), [0, 1, 0, 1]).state()),
        "not a detector",
    ),
    "of no name": (head_of(head="no-such-head"), "no head 'no-such-head'"),
    "parameters": (head_of(parameters={"no_such": 1}), "cannot be used"),
    "classes of objects": (head_of(classes={"values": [0, 1], "dtype": "O"}), "cannot be used"),
    "classes of gigabytes": (head_of(classes={"values": [0, 1], "dtype": "S2000000000"}), "cannot be used"),
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_that_is_not_the_one_described_is_refused(what: str) -> None:
    encoded, reason = HEADS[what]
    with pytest.raises(FewshotError, match=reason):
        Detector.from_bytes(forged(**{"head_0.safetensors": encoded}), where="x.detector")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths_of(document: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document."""
    steps = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [before, *(path for step, value in list(steps)[:8] for path in paths_of(value, (*before, step)))]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["detector.json", "images.json"]), st.data())
def test_any_value_at_any_place_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    document = json.loads(MEMBERS[name])
    path = data.draw(st.sampled_from(paths_of(document)[1:]))
    set_to(*path, value=data.draw(JSON))(document)
    encoded = forged(**{name: json.dumps(document).encode("utf-8", "surrogatepass")})
    try:
        found = Detector.from_bytes(encoded, where="x.detector")
    except FewshotError:
        return
    assert found.description.members  # what was changed is free text, or the same again
    assert content.decode(unpack(found.to_bytes(), where="x"), where="x").description == found.description


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(MEMBERS)), st.integers(0, 1 << 30), st.binary(min_size=1, max_size=12))
def test_foreign_bytes_in_any_member_are_taken_or_refused(name: str, place: int, piece: bytes) -> None:
    whole = MEMBERS[name]
    at = place % (len(whole) + 1)
    with suppress(FewshotError):
        Detector.from_bytes(forged(**{name: whole[:at] + piece + whole[at + len(piece) :]}), where="x.detector")


def test_what_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.detector").write_bytes(WHOLE)
    monkeypatch.setattr(archive, "MOST_BYTES", len(WHOLE) - 1)
    with pytest.raises(InputError, match="at most"):
        Detector.load(tmp_path / "a.detector")


def test_deep_json_is_refused() -> None:
    description = MEMBERS["detector.json"].rstrip()[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    refused(forged(**{"detector.json": description}), "not a detector that fewshot wrote")


def test_errors_are_weights_errors_where_the_file_is_at_fault() -> None:
    with pytest.raises(WeightsError):
        Detector.from_bytes(WHOLE[:100], where="x.detector")
    assert msgspec.json.decode(MEMBERS["detector.json"])["format"] == "fewshot-detector"
