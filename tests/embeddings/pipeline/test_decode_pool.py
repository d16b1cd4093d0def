"""Worker processes: order, light imports, and a worker that dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.core.child import Child
from fewshot.core.errors import FewshotError
from fewshot.embeddings.inputs.transforms import Squash
from fewshot.embeddings.inputs.views import parse
from fewshot.embeddings.layouts.base import Layout, Sample
from fewshot.embeddings.layouts.folder import Folder
from fewshot.embeddings.pipeline.decode_pool import WorkerPool, prepared_in_order
from fewshot.embeddings.pipeline.prepare import Input, Job, Preparation, Prepared


@pytest.fixture
def recipe(tmp_path: Path) -> Preparation:
    """40 images; each is wanted in small, in small after JPEG, and at its own size."""
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (16 + number, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    inputs = (Input((), (Squash(8, 8),)), Input(parse("jpeg:50").pixels, (Squash(8, 8),)), Input())
    return Preparation((tmp_path,), (Folder(),), inputs)


def jobs(count: int = 40) -> list[Job]:
    return [Job(number, 0, Sample(f"{number}.png", "x", False)) for number in range(count)]


def assert_same(one: list[Prepared], other: list[Prepared]) -> None:
    assert [each.number for each in one] == [each.number for each in other]
    for first, second in zip(one, other, strict=True):
        assert (first.metadata, first.failure) == (second.metadata, second.failure)
        for left, right in zip(first.inputs, second.inputs, strict=True):
            np.testing.assert_array_equal(left, right)


def test_workers_give_what_this_process_gives_in_order(recipe: Preparation) -> None:
    alone = list(prepared_in_order(recipe, jobs(41), workers=0))

    assert_same(list(prepared_in_order(recipe, jobs(41), workers=2)), alone)
    assert alone[40].failure.startswith("missing")
    assert [part.shape for part in alone[3].inputs if not isinstance(part, str)] == [(3, 8, 8), (3, 8, 8), (3, 19, 20)]
    assert all(part.dtype == np.uint8 for part in alone[3].inputs if not isinstance(part, str))


def test_a_killed_worker_is_replaced_and_nothing_is_lost(recipe: Preparation) -> None:
    alone = list(prepared_in_order(recipe, jobs(), workers=0))

    with WorkerPool(recipe, 1) as pool:
        results = pool.run(jobs())
        found = [next(results)]
        os.kill(pool._workers[0].child.process.pid, signal.SIGKILL)
        found += list(results)

    assert_same(found, alone)


def test_a_stopped_worker_is_replaced_after_the_deadline_and_no_image_is_lost(recipe: Preparation) -> None:
    alone = list(prepared_in_order(recipe, jobs(), workers=0))

    with WorkerPool(recipe, 1, decode_seconds=1.5) as pool:
        results = pool.run(iter(jobs()))
        found = [next(results)]
        os.kill(pool._workers[0].child.process.pid, signal.SIGSTOP)
        found += list(results)

    assert_same(found, alone)


class Endless(Layout):
    """A folder whose fourth image is never read to its end."""

    name = "endless"

    def recognises(self, root: Path) -> bool:
        return False

    def samples(self, root: Path) -> Iterator[Sample]:
        return iter(())

    def read(self, root: Path, sample: Sample) -> bytes:
        while sample.path == "3.png":
            time.sleep(1)
        return super().read(root, sample)


def test_an_image_that_never_ends_is_listed_after_two_deadlines_and_takes_no_other_along(recipe: Preparation) -> None:
    endless = replace(recipe, layouts=(Endless(),))

    found = list(prepared_in_order(endless, jobs(6), workers=1, decode_seconds=1.5))

    assert [result.number for result in found] == list(range(6))
    assert found[3].failure.startswith("timeout: not decoded within 1.5 s, twice; --decode-seconds")
    assert [bool(result.failure) for result in found] == [False, False, False, True, False, False]


def test_a_worker_killed_at_its_start_is_replaced_and_nothing_is_lost(
    recipe: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(module: str, function: str) -> Child:
        started.append(Child(module, function))
        if len(started) <= 2:
            os.kill(started[-1].process.pid, signal.SIGKILL)
        return started[-1]

    monkeypatch.setattr("fewshot.embeddings.pipeline.decode_pool.Child", start)

    found = list(prepared_in_order(recipe, jobs(8), workers=1))

    assert len(started) == 3
    assert [result.failure for result in found] == [""] * 8


def test_a_worker_stopped_at_its_start_is_replaced(recipe: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(module: str, function: str) -> Child:
        started.append(Child(module, function))
        if len(started) == 1:
            os.kill(started[0].process.pid, signal.SIGSTOP)
        return started[-1]

    monkeypatch.setattr("fewshot.embeddings.pipeline.decode_pool.Child", start)
    monkeypatch.setattr("fewshot.embeddings.pipeline.decode_pool._START_SECONDS", 5.0)

    found = list(prepared_in_order(recipe, jobs(4), workers=1, decode_seconds=5.0))

    assert len(started) >= 2
    assert [result.failure for result in found] == [""] * 4


def test_workers_that_end_at_their_start_end_the_run_with_what_to_do(
    recipe: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewshot.embeddings.pipeline.decode_pool.Child", lambda *_: Child("sys", "exit"))

    with pytest.raises(FewshotError, match=r"3 worker processes in a row ended at their start .* --workers 0"):
        list(prepared_in_order(recipe, jobs(6), workers=1))


def test_workers_import_no_torch() -> None:
    code = "import sys, fewshot.embeddings.pipeline.decode_pool; print('torch' in sys.modules, 'h5py' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_embed_with_workers(tree: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import fewshot\n"
        f"store = fewshot.embed({str(tree)!r}, backbones='tiny-ladeda', weights=['all=random'], workers=1,\n"
        f"                      quiet=True, out={str(tmp_path / 'a.h5')!r})\n"
        "print(len(store))\n"
    )

    assert subprocess.check_output([sys.executable, str(script)], text=True).strip() == "12"


@pytest.mark.slow
def test_one_process_per_device_makes_the_store_of_one_process(tree: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "fewshot",
        "embed",
        str(tree),
        "-b",
        "tiny-ladeda",
        "--weights",
        "all=random",
        "-q",
    ]

    one = subprocess.check_output([*command, "-o", str(tmp_path / "a.h5"), "--json"], text=True)
    two = subprocess.check_output([*command, "-o", str(tmp_path / "b.h5"), "--json", "--device", "cpu,cpu"], text=True)

    assert json.loads(two)["sealed"] is True
    assert json.loads(one)["digest"] == json.loads(two)["digest"]
