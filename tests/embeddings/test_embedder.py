"""One path from image to features: whoever asks, ``embed`` or ``nearest``, an image gets the same row."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import fewshot
from fewshot.core.errors import DeviceError, InputError, StoreError, WeightsError
from fewshot.embeddings.search.index import SourceIndex
from fewshot.embeddings.search.query import Queries, from_images
from fewshot.embeddings.store.reader import FeatureStore

pytestmark = pytest.mark.usefixtures("fakes")

VIEWS = [
    "clean",
    "jpeg:75",
    "resize:0.5+webp:80",
    "noise:0.05",
    "input-noise:0.05",
    "input-noise:0.02:unit:1",
    "input-blur:0.55",
    "jpeg:60+input-unsharp:0.55",
]


def embedded(tree: Path, out: Path, name: str, **options: Any) -> FeatureStore:
    return fewshot.embed(tree, backbones=[name], out=out, **{"workers": 0, "quiet": True, **options})


def queried(store: FeatureStore, tree: Path, view: str, **options: Any) -> tuple[Queries, Any]:
    """Every image of the store as a query, and the store's own rows."""
    (name,) = store.backbones
    index = SourceIndex(store, view=view, metric="ip")
    found = from_images(index, [tree / path for path in store.column("path")], **{"workers": 0, **options})
    return found, store.read(None, name, store.default_layer(name), view=view)


def rewritten(store: FeatureStore, path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> FeatureStore:
    """A copy of a store whose layers say something else of how they were produced."""
    shutil.copy(store.path, path)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1  # a later version has a manifest, which covers what its layers say
        del file.attrs["manifest"], file.attrs["contents"]
        for backbone in file["features"].values():
            for layer in backbone.values():
                layer.attrs["facts"] = json.dumps(change(json.loads(layer.attrs["facts"])))
    return FeatureStore(path)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_the_same_image_has_the_same_row_for_every_view_and_precision(
    tree: Path, tmp_path: Path, precision: str
) -> None:
    weights = ["all=random"]
    options = {"views": VIEWS, "precision": precision, "weights": weights, "batch_size": 1}
    store = embedded(tree, tmp_path / "a.h5", "tiny-ladeda", **options)

    for view in VIEWS:
        found, rows = queried(store, tree, view, weights=weights)
        np.testing.assert_array_equal(found.features, rows, err_msg=view)


@pytest.mark.parametrize(
    "options",
    [
        {"match_format": "jpeg:50"},
        {"decoder": "torchvision"},
        {"store_dtype": "float16"},
        {"precision": "bf16", "store_dtype": "float16", "decoder": "torchvision", "fiser_compat": True},
    ],
    ids=str,
)
def test_reencoding_decoder_and_stored_type_are_those_of_the_store(
    tree: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    for number, path in enumerate(sorted(tree.rglob("*.png"))):
        if number % 2:
            Image.open(path).resize((300, 280)).save(path.with_suffix(".jpg"), quality=80)
            path.unlink()
    store = embedded(tree, tmp_path / "a.h5", "tiny-ladeda", weights=["all=random"], batch_size=1, **options)

    found, rows = queried(store, tree, "clean", weights=["all=random"])

    np.testing.assert_array_equal(found.features, rows)


def test_in_other_batches_the_rows_are_the_same_within_rounding(tree: Path, tmp_path: Path) -> None:
    store = embedded(tree, tmp_path / "a.h5", "npr", weights=["all=random"])
    index = SourceIndex(store)

    one = from_images(index, [tree / store.column("path")[4]], weights=["all=random"], workers=1)

    np.testing.assert_allclose(one.features[0], store.read(np.array([4]), "npr", "feature")[0], rtol=1e-4, atol=1e-5)
    assert list(one.leave_out[0]) == [4]


def test_a_query_of_a_weight_file_is_embedded_with_the_same_bytes(
    tree: Path, tmp_path: Path, fakes: ModuleType
) -> None:
    first, second = (fakes.write_projection(tmp_path / f"{seed}.pth", seed=seed) for seed in (1, 2))
    store = embedded(tree, tmp_path / "a.h5", "projection", weights={"projection": first}, batch_size=1)

    found, rows = queried(store, tree, "clean", weights=[f"projection={first}"])

    np.testing.assert_array_equal(found.features, rows)
    with pytest.raises(StoreError, match=r"was produced with weights = .* give --weights projection=PATH"):
        queried(store, tree, "clean", weights=[f"projection={second}"])
    with pytest.raises(WeightsError, match=r"needs projection\.pth"):
        queried(store, tree, "clean")


def test_a_layer_of_before_references_is_queried_by_what_it_records(tree: Path, tmp_path: Path) -> None:
    store = embedded(tree, tmp_path / "a.h5", "tiny-ladeda", weights=["all=random"], batch_size=1)
    older = rewritten(store, tmp_path / "b.h5", lambda made: {k: v for k, v in made.items() if k != "reference"})

    found, rows = queried(older, tree, "clean", weights=["all=random"])

    np.testing.assert_array_equal(found.features, rows)


def test_a_store_of_fp16_is_not_queried_on_a_processor_in_another_precision(tree: Path, tmp_path: Path) -> None:
    store = embedded(tree, tmp_path / "a.h5", "mean-colour")
    half = rewritten(store, tmp_path / "b.h5", lambda made: {**made, "precision": "fp16"})

    with pytest.raises(DeviceError, match="produced in fp16, which needs a CUDA device; give --device cuda"):
        queried(half, tree, "clean", device="cpu")


def test_an_unknown_device_is_refused_with_what_to_give(tree: Path, tmp_path: Path) -> None:
    store = embedded(tree, tmp_path / "a.h5", "mean-colour")

    with pytest.raises(DeviceError, match=r"'tpu'.*auto, cpu, cuda"):
        queried(store, tree, "clean", device="tpu")


def test_hostile_queries_are_decoded_apart_and_named(tree: Path, tmp_path: Path) -> None:
    store = embedded(tree, tmp_path / "a.h5", "mean-colour")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG not really")
    good = tree / store.column("path")[0]

    found = from_images(SourceIndex(store), [bad, good, tmp_path / "none.png", tmp_path], workers=1)

    assert found.images == (str(good),)
    assert [(Path(path).name, reason.partition(":")[0]) for path, reason in found.failed] == [
        (tmp_path.name, "is a folder; name its images, or embed it and give the store as --query"),
        ("bad.png", "not-an-image"),
        ("none.png", "missing"),
    ]
    with pytest.raises(InputError, match="none of 1 images can be read"):
        from_images(SourceIndex(store), [bad], workers=1)


@pytest.mark.gpu
def test_on_a_gpu_the_same_image_has_the_same_row_in_fp16(tree: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA, and this machine has none")
    options = {"weights": ["all=random"], "batch_size": 1}
    store = embedded(tree, tmp_path / "a.h5", "npr", precision="fp16", device="cuda", **options)

    found, rows = queried(store, tree, "clean", weights=["all=random"], device="cuda")

    np.testing.assert_allclose(found.features, rows, rtol=1e-3, atol=1e-3)
