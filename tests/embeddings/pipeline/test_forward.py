"""Batches on their way: memory that runs out, copies back in a thread, layouts and compiled networks."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fewshot
from fewshot.core.errors import FewshotError
from fewshot.embeddings.backbones.creation import create
from fewshot.embeddings.card import RandomWeights
from fewshot.embeddings.extract import extract
from fewshot.embeddings.pipeline.memory import bytes_for_one, fitting_batch
from fewshot.embeddings.pipeline.transfer import Downloads, upload
from fewshot.embeddings.pipeline.tuning import lay_channels_last
from fewshot.embeddings.store.reader import FeatureStore

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("fakes")


def embed(tree: Path, out: Path, name: str, **options: Any) -> FeatureStore:
    return fewshot.embed(tree, backbones=[name], out=out, **{"workers": 0, "quiet": True, **options})


@pytest.mark.parametrize("kind", ["cuda's error", "the allocator's error"])
def test_a_batch_that_does_not_fit_is_halved_and_no_row_is_lost(
    tree: Path, tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(fakes.Narrow, "kind", kind)
    small = embed(tree, tmp_path / "small.h5", "narrow", batch_size=3)
    fakes.Narrow.sizes.clear()

    done = extract(tree, backbones="narrow", out=tmp_path / "a.h5", workers=0, quiet=True, batch_size=12)

    store = done.outcome.store
    assert store is not None
    assert (len(store), done.outcome.lacking, done.batch_size) == (12, 0, 3)
    assert fakes.Narrow.sizes == [12, 6, 3, 3, 3, 3]
    assert store.info("narrow", "mean").provenance["batch_size"] == 3  # what was used, not what was wanted
    np.testing.assert_array_equal(store.read(None, "narrow", "mean"), small.read(None, "narrow", "mean"))


def test_one_image_that_does_not_fit_is_an_error_with_what_to_do(
    tree: Path, tmp_path: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes.Narrow, "most", 0)

    with pytest.raises(
        FewshotError, match=r"one image of \(3, 8, 8\) does not fit the memory of cpu for 'narrow'; use"
    ):
        embed(tree, tmp_path / "a.h5", "narrow")


@pytest.mark.slow
def test_in_a_capped_address_space_the_batch_is_halved_and_every_row_kept(tree: Path, tmp_path: Path) -> None:
    script = (
        "import resource, sys, torch\n"
        "import conftest\n"
        "conftest.load_fakes()\n"
        "from fewshot.embeddings.extract import extract\n"
        "run = dict(backbones='hungry', workers=0, quiet=True)\n"
        "extract(sys.argv[1], out=sys.argv[2], batch_size=1, limit=2, **run)\n"  # loads whatever is loaded late
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (500 << 20), used + (500 << 20)))\n"
        "done = extract(sys.argv[1], out=sys.argv[3], batch_size=12, **run)\n"
        "print(done.batch_size, done.outcome.rows, done.outcome.lacking)\n"
    )
    paths = [str(tree), str(tmp_path / "first.h5"), str(tmp_path / "a.h5")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}

    said = subprocess.run(
        [sys.executable, "-c", script, *paths], capture_output=True, text=True, env=environment, check=False
    )

    assert said.returncode == 0, said.stderr
    batch, rows, lacking = map(int, said.stdout.split())
    assert (rows, lacking) == (12, 0)
    assert 1 <= batch <= 6


def test_what_one_image_needs_follows_from_the_largest_tensor(fakes: ModuleType) -> None:
    hungry, narrow = (create(name).load(device=CPU, weights=RandomWeights()) for name in ("hungry", "narrow"))

    assert bytes_for_one(hungry) == 4 * 4 * 3 * 2048 * 2048
    assert bytes_for_one(narrow) == 4 * 4 * 3 * 8 * 8


def test_the_batch_of_auto_follows_from_what_one_image_needs(
    fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = create("narrow").load(device=CPU, weights=RandomWeights())
    need = bytes_for_one(backbone)

    for free, batch in ((1 << 40, 32), (2 * 8 * need, 8), (2 * 8 * need - 1, 4), (0, 1)):
        monkeypatch.setattr("fewshot.embeddings.pipeline.memory.free_on", lambda _, free=free: free)
        assert fitting_batch(CPU, [backbone]) == batch


def test_features_are_handed_on_in_order_by_a_thread_of_its_own() -> None:
    taken: list[tuple[int, float, str]] = []
    gate = threading.Event()

    def take(number: int) -> Callable[[dict[str, Any]], None]:
        def keep(found: dict[str, Any]) -> None:
            gate.wait(10)
            taken.append((number, float(found["x"].sum()), threading.current_thread().name))

        return keep

    with Downloads(CPU) as downloads:
        for number in range(2):
            downloads.fetch({"x": torch.full((2, 3), float(number))}, take(number), started=time.perf_counter())
        assert taken == []  # the caller went on
        gate.set()
        downloads.fetch({"x": torch.ones(1, 1, dtype=torch.bfloat16)}, take(2), started=time.perf_counter())
        downloads.drain()

    assert [number for number, _, _ in taken] == [0, 1, 2]
    assert [total for _, total, _ in taken] == [0.0, 6.0, 1.0]
    assert all(name.startswith("fewshot-copy") for _, _, name in taken)


def test_what_the_copying_thread_meets_is_raised() -> None:
    def fail(_: object) -> None:
        raise ValueError("the disk is red")

    with Downloads(CPU) as downloads:
        downloads.fetch({"x": torch.ones(1, 1)}, fail, started=0.0)
        with pytest.raises(ValueError, match="the disk is red"):
            downloads.drain()


def test_a_batch_is_its_arrays_stacked() -> None:
    arrays = [np.full((3, 2, 2), number, np.uint8) for number in range(4)]

    batch = upload(arrays, CPU)

    assert batch.dtype == torch.uint8
    np.testing.assert_array_equal(batch.numpy(), np.stack(arrays))


@pytest.mark.parametrize("name", ["tiny-ladeda", "ferretnet", "torchvision:mobilenet_v3_small"])
def test_channels_last_changes_convolutional_features_by_rounding_only(name: str) -> None:
    backbone = create(name).load(device=CPU, weights=RandomWeights())
    image = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    batch = torch.from_numpy(backbone.preprocess(Image.fromarray(image)))[None]
    before = backbone.embed(batch)

    taken = lay_channels_last([backbone])

    after = backbone.embed(batch.contiguous(memory_format=torch.channels_last))
    assert taken == {backbone.card.name}
    for layer, part in before.items():
        torch.testing.assert_close(after[layer], part, rtol=1e-4, atol=1e-5 * float(part.abs().max()))


def test_networks_without_convolutions_or_that_change_keep_their_layout(fakes: ModuleType) -> None:
    flat, ordered = (create(name).load(device=CPU, weights=RandomWeights()) for name in ("projection", "strided"))

    assert lay_channels_last([flat, ordered]) == frozenset()
    assert all(part.is_contiguous() for part in ordered.network.parameters())


def test_layout_and_compilation_are_recorded_with_the_features(tree: Path, tmp_path: Path) -> None:
    store = embed(tree, tmp_path / "a.h5", "tiny-ladeda", weights=["all=random"])

    facts = store.info("tiny-ladeda", store.default_layer("tiny-ladeda")).provenance
    assert (facts["channels_last"], facts["compiled"], facts["batch_size"]) == (True, False, 32)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_features(tree: Path, tmp_path: Path, fakes: ModuleType) -> None:
    weights = {"projection": fakes.write_projection(tmp_path / "one.pth", seed=1)}
    plain = embed(tree, tmp_path / "a.h5", "projection", weights=weights)

    compiled = embed(tree, tmp_path / "b.h5", "projection", weights=weights, compile=True)

    assert compiled.info("projection", "out").provenance["compiled"] is True
    np.testing.assert_allclose(
        compiled.read(None, "projection", "out"), plain.read(None, "projection", "out"), rtol=1e-4, atol=1e-4
    )


def test_choosing_a_batch_imports_no_compiler() -> None:
    code = (
        "import sys; from fewshot.embeddings.pipeline import memory, tuning;"
        "from fewshot.embeddings.backbones.creation import create;"
        "backbone = create('spectrum').load(device='cpu', weights={}); memory.bytes_for_one(backbone);"
        "tuning.lay_channels_last([backbone]); print('torch._dynamo' in sys.modules)"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
