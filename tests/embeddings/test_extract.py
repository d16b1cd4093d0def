"""The extraction loop against features computed image by image, and what it keeps, adds, refuses and retries."""

import hashlib
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import fewshot
from fewshot.core.errors import InputError, OptionError, OutputError, StoreError, UnknownNameError, WeightsError
from fewshot.embeddings.extract import extract
from fewshot.embeddings.store.reader import FeatureStore

pytestmark = pytest.mark.usefixtures("fakes")


def datasets(path: Path) -> dict[str, Any]:
    """Every dataset of a store by name, with its values, and the digest of the whole."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        found["digest"] = file.attrs["digest"]
    return found


def assert_same_store(one: Path, other: Path) -> None:
    first, second = datasets(one), datasets(other)
    assert set(first) == set(second)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def run(root: Path, out: Path, *backbones: str, **options: Any) -> FeatureStore:
    return fewshot.embed(root, backbones=list(backbones), out=out, **{"workers": 0, "quiet": True, **options})


def damage(root: Path, name: str = "synthetic/gan/1.png") -> bytes:
    whole = (root / name).read_bytes()
    (root / name).write_bytes(whole[: len(whole) // 2])
    return whole


def test_features_equal_those_of_every_image_alone(tree: Path, tmp_path: Path) -> None:
    store = run(tree, tmp_path / "a.h5", "mean-colour", "native-size")

    for row, path in enumerate(store.column("path")):
        with Image.open(tree / path) as image:
            pixels = np.asarray(image, dtype=np.float64) / 255
            small = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR), dtype=np.float64) / 255
        rows = np.array([row])
        np.testing.assert_allclose(
            store.read(rows, "mean-colour", "mean")[0], small.mean(axis=(0, 1)), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(
            store.read(rows, "native-size", "size")[0], [*pixels.shape[:2], pixels.mean()], rtol=1e-5
        )
    assert store.default_layer("mean-colour") == "mean"
    assert store.has_logit("mean-colour")


def test_samples_carry_labels_and_file_facts(tree: Path, tmp_path: Path) -> None:
    frame = run(tree, tmp_path / "a.h5", "mean-colour").samples()

    first = frame.iloc[0]
    encoded = (tree / first["path"]).read_bytes()
    with Image.open(tree / first["path"]) as image:
        pixels = np.asarray(image)
    sizes = pixels.shape[0].to_bytes(8, "little") + pixels.shape[1].to_bytes(8, "little")
    assert list(frame["path"]) == sorted(frame["path"])
    assert (first["source"], first["synthetic"], first["format"]) == ("camera", False, "PNG")
    assert first["id"] == hashlib.sha256(sizes + pixels.tobytes()).hexdigest()
    assert first["file_sha256"] == hashlib.sha256(encoded).hexdigest()
    assert (first["width"], first["height"], first["file_size"]) == (24, 20, len(encoded))


def test_a_columns_of_the_tables_own_are_kept(tree: Path, tmp_path: Path) -> None:
    rows = [
        f"{path.relative_to(tree)},{path.parent.name},{int('synthetic' in str(path))},native,7"
        for path in sorted(tree.rglob("*.png"))
    ]
    (tree / "manifest.csv").write_text("\n".join(["path,source,synthetic,track,width", *rows]))

    by_folder = run(tree, tmp_path / "a.h5", "mean-colour")
    by_table = run(tree / "manifest.csv", tmp_path / "b.h5", "mean-colour")

    assert set(by_folder.column("track")) == {"native"}
    assert set(by_folder.column("extra.width")) == {"7"}
    assert set(by_folder.column("width")) == {24}
    assert_same_store(by_folder.path, by_table.path)


def test_two_runs_give_the_same_store(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")
    run(tree, tmp_path / "b.h5", "mean-colour")

    assert_same_store(tmp_path / "a.h5", tmp_path / "b.h5")


def test_worker_processes_give_the_same_store_as_none(tree: Path, tmp_path: Path) -> None:
    damage(tree)

    run(tree, tmp_path / "a.h5", "mean-colour", "native-size", views=["clean", "jpeg:60", "noise:0.1"])
    run(tree, tmp_path / "b.h5", "mean-colour", "native-size", views=["clean", "jpeg:60", "noise:0.1"], workers=2)

    assert_same_store(tmp_path / "a.h5", tmp_path / "b.h5")


def test_shards_run_apart_seal_to_the_same_store(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.embeddings.pipeline.units._UNIT_IMAGES", 4)
    damage(tree)
    run(tree, tmp_path / "whole.h5", "mean-colour")

    outcomes = [
        extract(tree, backbones="mean-colour", out=tmp_path / "parts.h5", shard=(number, 3), workers=0, quiet=True)
        for number in (3, 1, 2)
    ]

    assert [outcome.outcome.store is None for outcome in outcomes] == [True, True, False]
    assert_same_store(tmp_path / "whole.h5", tmp_path / "parts.h5")
    assert not (tmp_path / "parts.h5.parts").exists()
    again = extract(tree, backbones="mean-colour", out=tmp_path / "parts.h5", shard=(2, 3), workers=0, quiet=True)
    assert (again.outcome.store is not None, again.outcome.changed) == (True, False)


def test_another_backbone_is_added_without_touching_the_first(tree: Path, tmp_path: Path) -> None:
    together = run(tree, tmp_path / "together.h5", "mean-colour", "native-size")
    first = run(tree, tmp_path / "apart.h5", "mean-colour")
    before = {info.layer: info.digest for info in first.layers}

    second = run(tree, tmp_path / "apart.h5", "native-size")

    after = {info.layer: info.digest for info in second.layers if info.backbone == "mean-colour"}
    assert before == after
    assert second.digest == together.digest
    assert_same_store(tmp_path / "together.h5", tmp_path / "apart.h5")


def test_a_view_and_a_layer_are_added_later(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour", layers={"mean-colour": ["mean"]})
    run(tree, tmp_path / "a.h5", "mean-colour", layers={"mean-colour": ["variance"]})
    store = run(tree, tmp_path / "a.h5", "mean-colour", views=["blur:1"], layers={"mean-colour": ["mean"]})

    assert set(store.layer_names("mean-colour")) == {"mean", "variance"}
    assert store.views("mean-colour") == ("clean", "blur:1")


def test_running_again_with_nothing_to_do_leaves_the_file_alone(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")
    before = (tmp_path / "a.h5").stat()

    run(tree, tmp_path / "a.h5", "mean-colour")

    assert (tmp_path / "a.h5").stat() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "photos"]


def test_an_unreadable_image_is_absent_listed_and_takes_no_other_along(tree: Path, tmp_path: Path) -> None:
    whole = run(tree, tmp_path / "whole.h5", "mean-colour")
    damage(tree)

    done = extract(tree, backbones="mean-colour", out=tmp_path / "a.h5", workers=0, quiet=True)

    store = done.outcome.store
    assert store is not None
    assert (done.outcome.images, done.outcome.rows, list(done.outcome.failures)) == (12, 11, ["synthetic/gan/1.png"])
    assert store.failed()["reason"][0].startswith("truncated")
    kept = np.array([key != "synthetic/gan/1.png" for key in whole.column("key")])
    np.testing.assert_array_equal(
        store.read(None, "mean-colour", "mean"), whole.read(np.flatnonzero(kept), "mean-colour", "mean")
    )
    assert "12 images in = 11 rows + 1 failures" in done.summary()[-1]


def test_a_failure_is_retried_and_the_mended_image_takes_its_place(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "whole.h5", "mean-colour", "native-size")
    bytes_before, times = damage(tree), (tree / "synthetic/gan/1.png").stat()
    run(tree, tmp_path / "a.h5", "mean-colour", "native-size")

    (tree / "synthetic/gan/1.png").write_bytes(bytes_before)
    os.utime(tree / "synthetic/gan/1.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    store = run(tree, tmp_path / "a.h5", "mean-colour")
    assert len(store) == 12
    assert store.present("native-size").sum() == 11
    store = run(tree, tmp_path / "a.h5", "native-size")

    mended, whole = datasets(store.path), datasets(tmp_path / "whole.h5")
    for name in whole:
        if name.startswith(("features", "present", "failed")) or name == "samples/key":
            np.testing.assert_array_equal(mended[name], whole[name], err_msg=name)


def test_an_image_gone_since_is_absent_for_the_new_backbone_and_listed(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")
    (tree / "natural/phone/0.png").unlink()

    done = extract(tree, backbones="native-size", out=tmp_path / "a.h5", workers=0, quiet=True)

    store = done.outcome.store
    assert store is not None
    assert len(store) == 12
    assert store.present("mean-colour").all()
    assert store.present("native-size").sum() == 11
    assert list(store.failed()["backbone"]) == ["native-size"]
    assert store.failed()["reason"][0].startswith("missing")
    assert "gone since" in done.outcome.notes[0]


def test_an_image_changed_since_is_absent_for_the_new_backbone_and_noticed(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")
    shutil.copy(tree / "natural/phone/0.png", tree / "natural/phone/1.png")

    done = extract(tree, backbones="native-size", out=tmp_path / "a.h5", workers=0, quiet=True)

    store = done.outcome.store
    assert store is not None
    assert list(store.failed()["key"]) == ["natural/phone/1.png"]
    assert store.failed()["reason"][0].startswith("changed")
    assert any("changed since" in note for note in done.outcome.notes)


def test_a_touched_image_is_not_a_changed_one(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")
    os.utime(tree / "natural/phone/1.png", ns=(1, 1))

    done = extract(tree, backbones="native-size", out=tmp_path / "a.h5", workers=0, quiet=True)

    assert done.outcome.notes == ()
    assert done.outcome.lacking == 0


def test_a_row_that_is_not_finite_is_listed_and_never_filled(tree: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tree / "natural/camera/dark.png")

    store = run(tree, tmp_path / "a.h5", "not-finite", "mean-colour")

    assert store.present("not-finite").sum() == 12
    assert store.present("mean-colour").all()
    assert list(store.failed()["key"]) == ["natural/camera/dark.png"]
    assert store.failed()["reason"][0].startswith("not-finite")


def test_other_images_are_refused(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")
    shutil.copy(tree / "natural/phone/0.png", tree / "natural/phone/9.png")

    with pytest.raises(StoreError, match=r"begun with 12 images, and 1 of the 13 .* 'natural/phone/9.png'"):
        run(tree, tmp_path / "a.h5", "native-size")


def test_other_labels_are_refused(tree: Path, tmp_path: Path) -> None:
    table = tree / "manifest.csv"
    table.write_text("path,source,synthetic\nnatural/phone/0.png,phone,0\nsynthetic/gan/0.png,gan,1\n")
    run(table, tmp_path / "a.h5", "mean-colour")
    table.write_text("path,source,synthetic\nnatural/phone/0.png,phone,0\nsynthetic/gan/0.png,vae,1\n")

    with pytest.raises(StoreError, match=r"as gan \(synthetic\), and it is vae \(synthetic\) now"):
        run(table, tmp_path / "a.h5", "native-size")


def test_changed_weights_are_refused_with_what_differs(tree: Path, tmp_path: Path, fakes: ModuleType) -> None:
    first = fakes.write_projection(tmp_path / "one.pth", seed=1)
    second = fakes.write_projection(tmp_path / "two.pth", seed=2)
    run(tree, tmp_path / "a.h5", "projection", weights={"projection": first})

    with pytest.raises(StoreError, match=r"'projection' \(clean\) produced differently: the weight files \(then"):
        run(tree, tmp_path / "a.h5", "projection", weights={"projection": second})


def test_another_reencoding_is_refused_with_what_differs(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "a.h5", "mean-colour")

    with pytest.raises(StoreError, match=r'the re-encoding of all images \(then "", now "jpeg:75"\)'):
        run(tree, tmp_path / "a.h5", "mean-colour", fiser_compat=True)


def test_reencoding_acts_on_every_image_before_its_view(tree: Path, tmp_path: Path) -> None:
    plain = run(tree, tmp_path / "a.h5", "mean-colour", views=["jpeg:75", "jpeg:75+blur:1"])
    again = run(tree, tmp_path / "b.h5", "mean-colour", views=["clean", "blur:1"], fiser_compat=True)

    for before, after in (("jpeg:75", "clean"), ("jpeg:75+blur:1", "blur:1")):
        np.testing.assert_array_equal(
            plain.read(None, "mean-colour", "mean", view=before), again.read(None, "mean-colour", "mean", view=after)
        )
    np.testing.assert_array_equal(plain.column("id"), again.column("id"))


def test_input_noise_is_added_after_normalisation_and_follows_from_the_pixels(
    tree: Path, tmp_path: Path, fakes: ModuleType
) -> None:
    weights = {"projection": fakes.write_projection(tmp_path / "one.pth", seed=1)}
    state = torch.load(tmp_path / "one.pth", weights_only=True)
    views = ["clean", "input-noise:0.05", "input-noise:0.05:normalised:1", "input-noise:0.02:unit"]
    store = run(tree, tmp_path / "a.h5", "projection", weights=weights, views=views)
    small = run(tree, tmp_path / "b.h5", "projection", weights=weights, views=views, batch_size=5, limit=7)

    clean = store.read(None, "projection", "out")
    noisy = store.read(None, "projection", "out", view="input-noise:0.05")
    other_draw = store.read(None, "projection", "out", view="input-noise:0.05:normalised:1")
    # The map is linear: the difference is the map of the noise, of which each image has its own.
    spread = 0.05 * state["1.weight"].norm(dim=1).numpy()
    assert (np.abs(noisy - clean) < 5 * spread).all()
    assert np.abs((noisy - clean).std(axis=0) / spread - 1).max() < 0.8
    assert not np.allclose(noisy, other_draw)
    rows = [list(store.column("key")).index(key) for key in small.column("key")]
    for view in views:
        np.testing.assert_allclose(
            small.read(None, "projection", "out", view=view),
            store.read(np.array(rows), "projection", "out", view=view),
            rtol=1e-4,
            atol=1e-4,
        )


def test_a_batch_size_gives_the_same_rows_within_rounding(tree: Path, tmp_path: Path) -> None:
    one = run(tree, tmp_path / "a.h5", "mean-colour", batch_size=1)
    five = run(tree, tmp_path / "b.h5", "mean-colour", batch_size=5)

    np.testing.assert_array_equal(one.column("key"), five.column("key"))
    np.testing.assert_allclose(one.read(None, "mean-colour", "mean"), five.read(None, "mean-colour", "mean"), rtol=1e-6)


def test_every_image_failing_is_an_error_and_makes_no_store(tree: Path, tmp_path: Path) -> None:
    for path in tree.rglob("*.png"):
        path.write_bytes(b"")

    with pytest.raises(InputError, match=r"none of the 12 images could be used .*empty: the file has no bytes"):
        run(tree, tmp_path / "a.h5", "mean-colour")

    assert not (tmp_path / "a.h5").exists()


def test_strict_makes_a_failure_an_error(tree: Path, tmp_path: Path) -> None:
    damage(tree)

    with pytest.raises(InputError, match=r"synthetic/gan/1.png: truncated.*--strict"):
        run(tree, tmp_path / "a.h5", "mean-colour", strict=True)


def test_float16_refuses_overflow(tree: Path, tmp_path: Path, fakes: ModuleType) -> None:
    torch.save({"1.weight": torch.full((4, 192), 1e6), "1.bias": torch.zeros(4)}, tmp_path / "large.pth")

    weights = {"projection": tmp_path / "large.pth"}
    with pytest.raises(StoreError, match="float16 ends at 65504"):
        run(tree, tmp_path / "a.h5", "projection", weights=weights, store_dtype="float16")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"backbones": ["mean-color"]}, UnknownNameError, "did you mean 'mean-colour'"),
        ({"views": ["jpg:75"]}, UnknownNameError, "did you mean 'jpeg'"),
        ({"views": ["jpeg:175"]}, OptionError, "jpeg takes 1 to 100, and got 175"),
        ({"layout": "fodler"}, UnknownNameError, "did you mean 'folder'"),
        ({"layers": {"mean-colour": ["median"]}}, UnknownNameError, "no layer of mean-colour 'median'"),
        ({"layers": {"npr": ["pooled"]}}, OptionError, "not among mean-colour"),
        ({"backbones": ["projection"]}, WeightsError, "needs projection.pth"),
        ({"expect_count": 13}, InputError, "13 images were expected and 12 found"),
        (
            {"expect_sources": ["camera", "gan", "vae"]},
            InputError,
            r"\['vae'\], unexpected \['diffusion', 'phone'\]",
        ),
        ({"shard": (3, 2)}, OptionError, "--shard 3/2"),
        ({"limit": 0}, OptionError, "--limit 0"),
        ({"workers": "many"}, OptionError, "--workers 'many'"),
        ({"batch_size": 0}, OptionError, "--batch-size 0"),
        ({"decoder": "pilow"}, UnknownNameError, "did you mean 'pillow'"),
        ({"match_format": "input-noise:0.1"}, OptionError, "a perturbation of pixels"),
    ],
)
def test_bad_options_get_their_sentence(
    tree: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        fewshot.embed(tree, **{"backbones": ["mean-colour"], "out": tmp_path / "a.h5", "quiet": True, **options})

    assert not (tmp_path / "a.h5").exists()


def test_bad_roots_and_outputs_get_their_sentence(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "natural").mkdir(parents=True)
    shutil.copytree(tree / "natural", tmp_path / "half" / "natural")
    shutil.copytree(tree / "natural", tmp_path / "odd" / "pictures")

    for root, text in (
        (tmp_path / "nowhere", "no file or folder"),
        (tmp_path / "empty", "no image was found"),
        (tmp_path / "half", "all 6 images of .* are natural"),
        (tmp_path / "odd", "nothing says whether 'pictures/camera/0.png' is natural or synthetic"),
    ):
        with pytest.raises(InputError, match=text):
            run(root, tmp_path / "a.h5", "mean-colour")
    assert len(run(tmp_path / "half", tmp_path / "half.h5", "mean-colour", one_class=True)) == 6
    with pytest.raises(OutputError, match="there is no folder"):
        run(tree, tmp_path / "missing" / "a.h5", "mean-colour")
    with pytest.raises(OutputError, match="is a folder"):
        run(tree, tmp_path, "mean-colour")


def test_an_output_folder_that_may_not_be_written_gets_its_sentence(tree: Path) -> None:
    with pytest.raises(OutputError, match=r"/proc/a\.h5 cannot be written: .*give another path by -o"):
        run(tree, Path("/proc/a.h5"), "mean-colour")
