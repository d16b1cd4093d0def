"""Images of a store are judged by their stored features, where these are what the detector was fitted on."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fewshot
from fewshot.core.errors import DeviceError, OptionError, StoreError, UnknownNameError
from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judged
from fewshot.detector.prediction import PredictSettings, predict
from fewshot.embeddings.store.failures import EVERY, Failure
from fewshot.embeddings.store.writer import LayerData, write_store

PROVENANCE: dict[str, Any] = {
    "weights": {"net": "a" * 64},
    "input": "resize 224 > [0, 1]",
    "decoder": "pillow",
    "reencode": "",
    "precision": "fp32",
    "dtype": "float32",
}


def make_store(
    path: Path, *, views: tuple[str, ...] = ("clean",), backbone: str = "net", layer: str = "pooled", **changed: Any
) -> Path:
    """Write 40 natural and 20 synthetic images whose first feature tells the classes apart; the last one lacks all."""
    generator = np.random.default_rng(len(path.name))
    synthetic = np.arange(60) >= 40
    samples = pd.DataFrame(
        {
            "key": [f"{number}.png" for number in range(60)],
            "id": [f"{len(path.name)}-{number:060x}" for number in range(60)],
            "file_sha256": [f"{number:064x}" for number in range(60)],
            "source": np.where(synthetic, "gan", "camera"),
            "synthetic": synthetic,
        }
    )
    features = generator.normal(size=(60, 8)).astype(np.float32)
    features[:, 0] += 8 * synthetic
    provenance: Mapping[str, Any] = {**PROVENANCE, **changed}
    layers = [
        LayerData(backbone, layer, features, view=view, present=np.arange(60) < 59, default=True, provenance=provenance)
        for view in views
    ]
    write_store(path, samples, layers, failures=[Failure("59.png", backbone, "clean", "not-finite: NaN")])
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    folder = tmp_path_factory.mktemp("fit")
    support, naturals = make_store(folder / "s.h5"), make_store(folder / "naturals.h5")
    return fewshot.fit(support, naturals=naturals, max_false_alarms=0.1, out=folder / "x.detector", quiet=True)


def judge(detector: Detector, path: Path, **settings: Any) -> list[Judged]:
    found: list[Judged] = []
    predict(detector, [path], PredictSettings(**settings), show=found.extend, quiet=True)
    return found


def test_every_row_is_judged_and_one_without_features_says_why(fitted: Detector, tmp_path: Path) -> None:
    found = judge(fitted, make_store(tmp_path / "traffic.h5"))

    assert [one.image for one in found] == [f"{number}.png" for number in range(60)]
    assert [one.judgement.verdict for one in found[40:59] if one.judgement].count("synthetic") > 16
    assert found[59].judgement is None
    assert found[59].failure == "not-finite: NaN"
    assert found[3].file_sha256 == f"{3:064x}"
    assert found[3].judgement is not None
    assert len(found[3].judgement.neighbours) == 5


def test_where_chooses_rows(fitted: Detector, tmp_path: Path) -> None:
    found = judge(fitted, make_store(tmp_path / "traffic.h5"), where={"source": "camera"})

    assert [one.image for one in found] == [f"{number}.png" for number in range(40)]


def test_where_without_a_store_is_refused(fitted: Detector, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--where chooses images of a store, and none was given"):
        judge(fitted, tmp_path / "a.png", where={"source": "camera"})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights": {"net": "b" * 64}}, "the weight files"),
        ({"input": "resize 256 > [0, 1]"}, r"the preprocessing \(resize 224 > \[0, 1\] there, resize 256"),
        ({"decoder": "torchvision"}, r"the decoder \(pillow there, torchvision here\)"),
        ({"reencode": "jpeg:90"}, "the re-encoding of all images"),
        ({"precision": "bf16"}, r"the precision \(fp32 there, bf16 here\)"),
        ({"dtype": "float16"}, r"the type features are stored in \(float32 there, float16 here\)"),
    ],
)
def test_features_that_were_produced_differently_are_refused(
    fitted: Detector, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    store = make_store(tmp_path / "other.h5", **changed)

    with pytest.raises(StoreError, match=rf"other\.h5 was produced differently .*{said}.*; embed both with the same"):
        judge(fitted, store)


def test_a_store_of_another_backbone_is_refused(fitted: Detector, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"there is no backbone in .*other\.h5 'net'.* Known: another"):
        judge(fitted, make_store(tmp_path / "other.h5", backbone="another"))


def test_stability_needs_the_re_encodings_in_the_store(fitted: Detector, tmp_path: Path) -> None:
    store = make_store(tmp_path / "plain.h5", views=("clean", "jpeg:75"))

    with pytest.raises(
        StoreError, match=r"--stability: .*plain\.h5 has no features under jpeg:50, resize:0\.5, .*embed"
    ):
        judge(fitted, store, stability=True)


def test_content_credentials_are_of_files_and_not_of_stores(fitted: Detector, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--c2pa reads image files, and .*traffic\.h5 is a store of features"):
        judge(fitted, make_store(tmp_path / "traffic.h5"), c2pa=True)


def test_an_image_that_embed_could_not_read_is_listed_last(fitted: Detector, tmp_path: Path) -> None:
    path = make_store(tmp_path / "traffic.h5")
    store = fewshot.FeatureStore(path)
    layers = [
        LayerData(
            "net", "pooled", store.read_padded("net", "pooled"), present=store.present("net"), provenance=PROVENANCE
        )
    ]
    failures = [Failure("59.png", "net", "clean", "not-finite: NaN"), Failure("bad.png", EVERY, EVERY, "missing: gone")]
    write_store(tmp_path / "again.h5", store.samples(), layers, failures=failures)

    found = judge(fitted, tmp_path / "again.h5")

    assert len(found) == 61
    assert (found[-1].image, found[-1].failure) == ("bad.png", "missing: gone")
    assert len(judge(fitted, tmp_path / "again.h5", where={"source": "gan"})) == 20


def fit_on(folder: Path, backbone: str, **changed: Any) -> Detector:
    folder.mkdir()
    support, naturals = (make_store(folder / name, backbone=backbone, **changed) for name in ("s.h5", "naturals.h5"))
    return fewshot.fit(support, naturals=naturals, max_false_alarms=0.1, out=folder / "x.detector", quiet=True)


def test_images_are_not_judged_with_other_weights_than_fitted(tmp_path: Path) -> None:
    detector = fit_on(tmp_path / "fit", "npr", layer="feature")
    (tmp_path / "a.png").touch()
    (tmp_path / "other.pth").write_bytes(b"other weights")

    with pytest.raises(StoreError, match=r"x\.detector was produced with weights = .*a{64}.*; give --weights npr=PATH"):
        predict(detector, [tmp_path / "a.png"], PredictSettings(weights=(f"npr={tmp_path / 'other.pth'}",)), quiet=True)


def test_images_are_not_judged_with_another_preprocessing_than_fitted(tmp_path: Path) -> None:
    detector = fit_on(tmp_path / "fit", "spectrum", layer="feature", weights={})
    (tmp_path / "a.png").touch()

    with pytest.raises(StoreError, match=r"x\.detector was produced with input = resize 224 > \[0, 1\], and the back"):
        predict(detector, [tmp_path / "a.png"], quiet=True)


def test_a_precision_that_this_machine_lacks_is_refused(tmp_path: Path) -> None:
    detector = fit_on(tmp_path / "fit", "spectrum", layer="feature", weights={}, precision="fp16")
    (tmp_path / "a.png").touch()

    with pytest.raises(DeviceError, match=r"x\.detector was produced in fp16, which needs a CUDA device"):
        predict(detector, [tmp_path / "a.png"], PredictSettings(device="cpu"), quiet=True)


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_a_detector_of_stored_features_of_either_type_comes_back_from_its_file(tmp_path: Path, kind: str) -> None:
    stores = []
    for name in ("s.h5", "naturals.h5"):
        store = fewshot.FeatureStore(make_store(tmp_path / f"wide-{name}"))
        features = store.read_padded("net", "pooled").astype(kind)
        layer = LayerData("net", "pooled", features, present=store.present("net"), default=True, provenance=PROVENANCE)
        write_store(tmp_path / name, store.samples(), [layer], failures=store.failures())
        stores.append(tmp_path / name)

    fitted = fewshot.fit(stores[0], naturals=stores[1], max_false_alarms=0.1, out=tmp_path / "x.detector", quiet=True)

    loaded = Detector.load(tmp_path / "x.detector")
    key = ("net", "pooled", "clean")
    assert loaded.images.features[key].dtype == kind
    assert np.array_equal(loaded.score(loaded.images.features)[0], fitted.score(fitted.images.features)[0])
    assert judge(loaded, stores[1])[3] == judge(fitted, stores[1])[3]


def test_stores_are_judged_without_torch(fitted: Detector, tmp_path: Path) -> None:
    code = (
        "import sys; from fewshot.cli import group; "
        f"group.main(['predict', {str(fitted.path)!r}, {str(make_store(tmp_path / 'a.h5'))!r}, '-q'], "
        "standalone_mode=False); print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "False"
