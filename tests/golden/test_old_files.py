"""A store and reports made before the modules moved into rooms still read, verify, grow and replay."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

import fewshot
from fewshot.cli import group
from fewshot.embeddings.extract import extract
from fewshot.embeddings.store.reader import FeatureStore
from fewshot.embeddings.verify import verify
from fewshot.protocols.replay import replay
from fewshot.results.report import Report
from fewshot.results.scores import scores_beside

OLD = Path(__file__).with_name("before_rooms")
REPORTS = ("adapt", "robustness", "attribution")
DIGEST = "95940a57775eb08f7ba3cf303f232aa545ff443c0a6685d125ed406505d477f6"
LAYERS = {"npr": ("feature", "logit"), "spectrum": ("feature", "radial", "residual")}
VIEWS = ("clean", "jpeg:75")
# Bits are equal on the CPU for one batch size and thread count; this machine may have others than the old one.
RELATIVE = 1e-5


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of the old store, drawn by the recipe in its README."""
    root = tmp_path_factory.mktemp("old") / "photos"
    for synthetic, folder in enumerate((root / "natural/camera", root / "synthetic/toy-gan")):
        folder.mkdir(parents=True)
        for number in range(6):
            generator = np.random.default_rng([synthetic, number])
            coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            fine = coarse.repeat(8, axis=0).repeat(8, axis=1)
            pixels = fine if synthetic else generator.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            (folder / f"{number}.ppm").write_bytes(b"P6\n48 48\n255\n" + pixels.tobytes())
    (root / "natural/camera/broken.ppm").write_bytes(b"P6 9 9 255\n")
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of the old store."""
    return Path(shutil.copy(OLD / "store.h5", tmp_path / "store.h5"))


def digests(store: FeatureStore) -> dict[tuple[str, str, str], str]:
    return {(info.backbone, info.layer, info.view): info.digest for info in store.layers}


def test_old_store_opens_with_its_digest_layers_and_sources() -> None:
    old = FeatureStore(OLD / "store.h5")

    assert old.digest == DIGEST
    assert len(old) == 12
    assert old.sources == ("camera", "toy-gan")
    assert old.synthetic.tolist() == [source == "toy-gan" for source in old.source]
    assert set(digests(old)) == {
        (backbone, layer, view) for backbone, layers in LAYERS.items() for layer in layers for view in VIEWS
    }
    assert old.failed()["key"].tolist() == ["natural/camera/broken.ppm"]


def test_images_drawn_again_are_those_of_the_old_store(photos: Path) -> None:
    old = FeatureStore(OLD / "store.h5")

    drawn = [hashlib.sha256((photos / key).read_bytes()).hexdigest() for key in old.column("key")]

    assert drawn == old.column("file_sha256").tolist()


def test_verify_finds_the_old_store_sound() -> None:
    found = verify(OLD / "store.h5")

    assert found.problems == ()
    assert (found.images, found.layers) == (12, 10)


def test_the_same_images_again_leave_the_old_store_as_it_is(photos: Path, store: Path) -> None:
    before = store.read_bytes()

    done = extract(
        photos, backbones=["spectrum", "npr"], out=store, views=VIEWS, weights=["npr=random"], workers=0, quiet=True
    )

    assert not done.outcome.changed
    assert store.read_bytes() == before


@pytest.mark.parametrize(
    ("backbone", "view", "weights", "added"),
    [
        ("tiny-ladeda", "clean", ["tiny-ladeda=random"], ("feature", "logit")),
        ("spectrum", "jpeg:50", [], LAYERS["spectrum"]),
    ],
    ids=["backbone", "view"],
)
def test_another_backbone_or_view_grows_the_old_store_and_leaves_its_layers_alone(
    photos: Path, store: Path, backbone: str, view: str, weights: list[str], added: tuple[str, ...]
) -> None:
    before = digests(FeatureStore(OLD / "store.h5"))

    grown = fewshot.embed(photos, backbones=backbone, out=store, views=[view], weights=weights, workers=0, quiet=True)

    after = digests(grown)
    assert {key: after[key] for key in before} == before
    assert set(after) - set(before) == {(backbone, layer, view) for layer in added}
    assert verify(store).sound


def test_features_of_today_equal_those_of_the_old_store(photos: Path, tmp_path: Path) -> None:
    old = FeatureStore(OLD / "store.h5")

    new = fewshot.embed(
        photos,
        backbones=["spectrum", "npr"],
        out=tmp_path / "new.h5",
        views=VIEWS,
        weights=["npr=random"],
        batch_size=32,
        workers=0,
        quiet=True,
    )

    assert new.column("key").tolist() == old.column("key").tolist()
    rows = np.arange(len(old))
    for backbone, layer, view in digests(old):
        theirs, ours = (store.read(rows, backbone, layer, view=view) for store in (old, new))
        assert np.abs(ours - theirs).max() <= RELATIVE * np.abs(theirs).max(), (backbone, layer, view)


@pytest.mark.parametrize("backbone", LAYERS)
def test_an_image_embedded_today_has_the_neighbours_of_its_old_row(backbone: str, photos: Path, store: Path) -> None:
    old = FeatureStore(store)
    features = old.read(np.arange(len(old)), backbone, "feature").astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    row = old.column("key").tolist().index("synthetic/toy-gan/3.ppm")
    cosines = np.delete(features @ features[row], row)  # the image itself is not an answer
    nearest = np.argsort(-cosines)[:3]

    image = photos / "synthetic/toy-gan/3.ppm"
    options = ["-b", backbone, "--weights", "npr=random", "-k", "3", "--json"]
    result = CliRunner().invoke(group, ["nearest", str(store), str(image), *options])

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["images"][0]["neighbours"]
    assert [one["key"] for one in found] == np.delete(old.column("key"), row)[nearest].tolist()
    assert [one["score"] for one in found] == pytest.approx(cosines[nearest], abs=RELATIVE)


@pytest.mark.parametrize("name", REPORTS)
def test_an_old_report_loads_with_its_numbers_and_prints_a_table(name: str) -> None:
    written = json.loads((OLD / f"{name}.json").read_text())

    report = Report.load(OLD / f"{name}.json")

    assert report.protocol == written["protocol"]
    assert [list(row.values) for row in report.rows] == [
        [np.nan if value is None else value for value in row["values"]] for row in written["rows"]
    ]
    found = [{key: entry[key] for key in ("metric", "source", "mean")} for entry in report.summary_entries()]
    assert found == [{key: entry[key] for key in ("metric", "source", "mean")} for entry in written["summary"]]
    assert "spectrum" in report.table()


@pytest.mark.parametrize("shots", [1, 2])
def test_scores_kept_beside_an_old_report_give_its_numbers(shots: int) -> None:
    kept = scores_beside(OLD / "adapt.json")
    rows = Report.load(OLD / "adapt.json").where(metric="auroc", source="all", shots=shots)

    scores = kept[f"spectrum|feature|svm|{shots}"]
    measured = [
        roc_auc_score(kept["synthetic"][queried], found[queried])
        for found, queried in zip(scores, kept["query"], strict=True)
    ]

    assert [list(row.values) for row in rows] == [pytest.approx(measured)]


def test_a_page_is_made_of_the_old_store_and_its_reports(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    reports = [str(OLD / f"{name}.json") for name in REPORTS]

    result = CliRunner().invoke(group, ["report", *reports, "--store", str(OLD / "store.h5"), "-o", str(page)])

    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert all(name in text for name in REPORTS)


@pytest.mark.parametrize("name", REPORTS)
def test_an_old_report_comes_out_again(name: str, store: Path) -> None:
    found = replay(Report.load(OLD / f"{name}.json"), stores=[store])

    assert found.equal, str(found)
