"""What every registered engine keeps, found by discovery: same files, same events, nothing left behind."""

import dataclasses
import os
import pickle  # noqa: TID251  # plans travel to other processes
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import fewshot
from fewshot.core.errors import InputError, OptionError, UnknownNameError, WeightsError
from fewshot.embeddings.embedder import ImagesDone
from fewshot.embeddings.engines.base import ENGINES, Engine, UnitDone
from fewshot.embeddings.extract import extract
from fewshot.embeddings.inputs.views import parse
from fewshot.embeddings.layouts.collection import collect
from fewshot.embeddings.pipeline.choice import choose_backbones, task_of
from fewshot.embeddings.pipeline.plan import Plan
from fewshot.embeddings.pipeline.settings import ComputeSettings, PixelSettings
from fewshot.embeddings.pipeline.units import Unit
from fewshot.embeddings.store.reader import FeatureStore

IMAGES = 14


@pytest.fixture(params=ENGINES.names())
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    made: Engine = ENGINES.load(request.param)()
    return made


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen images of two classes, one of them cut short."""
    return photographs(tmp_path_factory.mktemp("engines") / "photos")


def photographs(root: Path) -> Path:
    """Draw the images of ``tree``."""
    for number in range(IMAGES):
        folder = root / ("natural/camera" if number % 2 else "synthetic/gan")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 36 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    damaged = root / "natural/camera/05.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    return root


def devices(engine: Engine) -> tuple[str, ...]:
    """As many as the engine takes of two."""
    return ("cpu",) if engine.name == "local" else ("cpu", "cpu")


def planned(tree: Path, folder: Path, *, devices: tuple[str, ...] = ("cpu",)) -> tuple[Plan, list[Unit]]:
    """A plan over the tree, and seven units of two images each."""
    folder.mkdir(exist_ok=True)
    collection = collect([tree])
    chosen = choose_backbones(["spectrum", "tiny-ladeda"], weights=["all=random"], layers={})
    tasks = tuple(
        task_of(each, parse(view), pixels=PixelSettings(), precision="fp32", dtype="float32")
        for each in chosen
        for view in ("clean", "jpeg:60")
    )
    plan = Plan(
        backbones=tuple(each.planned for each in chosen),
        samples=collection,
        keys=tuple(collection.keys),
        known={},
        pixels=PixelSettings(),
        compute=ComputeSettings(devices=devices, batch_size=4),
        dtype="float32",
        folder=folder,
    )
    return plan, [Unit((first, first + 1), tasks) for first in range(0, IMAGES, 2)]


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        found["digest"] = file.attrs["digest"]
    return found


def assert_same(one: Path, other: Path) -> None:
    first, second = content(one), content(other)
    assert set(first) == set(second)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def events(engine: Engine, plan: Plan, units: list[Unit]) -> Iterator[UnitDone | ImagesDone]:
    yield from engine.run(plan, units)


def test_every_unit_is_done_once_and_its_file_is_that_of_the_local_engine(
    engine: Engine, tree: Path, tmp_path: Path
) -> None:
    plan, units = planned(tree, tmp_path / "here", devices=devices(engine))
    reference, same_units = planned(tree, tmp_path / "there")

    found = list(engine.run(plan, units))
    local = list(ENGINES.load("local")().run(reference, same_units))

    done = [event for event in found if isinstance(event, UnitDone)]
    assert sorted(event.unit.positions for event in done) == [unit.positions for unit in units]
    assert sum(event.images for event in found if isinstance(event, ImagesDone)) == IMAGES
    failures = {failure.key for event in found if isinstance(event, ImagesDone) for failure in event.failures}
    assert failures == {"natural/camera/05.png"}
    assert all(event.batch_size == 4 and event.timing.forward > 0 for event in done)
    for event in local:
        if isinstance(event, UnitDone):
            assert_same(event.file.path, tmp_path / "here" / event.file.path.name)


def test_a_run_of_the_engine_seals_the_store_of_the_local_one(engine: Engine, tree: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"backbones": "tiny-ladeda", "weights": ["all=random"], "quiet": True}

    local = fewshot.embed(tree, out=tmp_path / "a.h5", workers=0, **options)
    other = extract(tree, out=tmp_path / "b.h5", engine=engine.name, device=",".join(devices(engine)), **options)

    assert other.outcome.store is not None
    assert other.outcome.store.digest == local.digest
    assert other.outcome.rows == IMAGES - 1
    assert other.outcome.store.provenance["options"]["engine"] == engine.name
    assert_same(tmp_path / "a.h5", tmp_path / "b.h5")


def test_a_plan_is_frozen_and_travels(tree: Path, tmp_path: Path) -> None:
    plan, units = planned(tree, tmp_path / "parts")

    travelled, travelled_units = pickle.loads(pickle.dumps((plan, units)))

    same = dataclasses.replace(travelled, samples=plan.samples)  # layouts are equal only to themselves
    assert same == plan
    assert travelled.samples.samples == plan.samples.samples
    assert travelled.samples.keys == plan.samples.keys
    assert [unit.id(plan.keys) for unit in travelled_units] == [unit.id(plan.keys) for unit in units]
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.dtype = "float16"  # type: ignore[misc]


def test_strictness_ends_the_run_and_what_the_engine_started(engine: Engine, tree: Path, tmp_path: Path) -> None:
    before = children()

    with pytest.raises(InputError, match=r"natural/camera/05\.png: .*--strict"):
        extract(
            tree,
            backbones="tiny-ladeda",
            weights=["all=random"],
            out=tmp_path / "a.h5",
            engine=engine.name,
            device=",".join(devices(engine)),
            strict=True,
            quiet=True,
        )

    assert children() == before
    assert not (tmp_path / "a.h5").exists()


def test_a_closed_run_leaves_whole_files_and_no_process(engine: Engine, tree: Path, tmp_path: Path) -> None:
    before = children()
    plan, units = planned(tree, tmp_path / "parts", devices=devices(engine))

    with closing(events(engine, plan, units)) as run:  # type: ignore[type-var]  # a generator
        first = next(event for event in run if isinstance(event, UnitDone))

    assert children() == before
    with FeatureStore(first.file.path) as store:
        assert len(store) == first.file.rows


def test_weights_that_changed_since_the_plan_are_refused(engine: Engine, tree: Path, tmp_path: Path) -> None:
    plan, units = planned(tree, tmp_path / "parts", devices=devices(engine))
    spectrum, ladeda = plan.backbones
    other = dataclasses.replace(ladeda, reference=dataclasses.replace(ladeda.reference, weights={"net": "abc"}))

    with pytest.raises(WeightsError, match=r"the weights of 'tiny-ladeda' changed while this run was under way"):
        list(engine.run(dataclasses.replace(plan, backbones=(spectrum, other)), units))


def test_the_local_engine_takes_one_device_and_says_who_takes_more(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--engine local works on one device, and here are cpu, cpu; .* processes"):
        extract(tree, backbones="spectrum", out=tmp_path / "a.h5", engine="local", device="cpu,cpu", quiet=True)


def test_an_unknown_engine_is_named_with_the_nearest(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="there is no engine 'proceses'; did you mean 'processes'"):
        extract(tree, backbones="spectrum", out=tmp_path / "a.h5", engine="proceses", quiet=True)


def children() -> set[int]:
    """The child processes of this one that have not ended."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.add(int(status.parent.name))
    return found
