"""Killed, terminated, interrupted, out of disk: the resumed store equals the uninterrupted one, bit by bit."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

_HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


class Zygote:
    """A process that runs the command line in forked children."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_HERE), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(_HERE / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self, log: Path, *command: str) -> int:
        """Start a child; return its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": list(command), "log": str(log)}) + "\n")
        return int(self._line())

    def ended(self, *, within_seconds: float) -> bool:
        """Wait for the child's end for so long; return whether it has ended."""
        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], within_seconds)[0])

    def status(self) -> int:
        """Return how the child ended: its exit status, or minus the signal."""
        return os.waitstatus_to_exitcode(int(self._line()))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """One zygote for all tests here."""
    started = Zygote()
    yield started
    started.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of two classes, one of them damaged."""
    root = tmp_path_factory.mktemp("kill") / "images"
    generator = np.random.default_rng(3)
    for name in ("natural/camera", "synthetic/gan"):
        (root / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 256, size=(48, 40 + number % 3, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    damaged = root / "synthetic/gan/07.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    return root


def command(images: Path, out: Path) -> list[str]:
    return ["embed", str(images), "-b", "mean-colour,native-size", "--view", "clean,jpeg:50", "-o", str(out),
            "--workers", "1"]  # fmt: skip


def content(path: Path) -> dict[str, bytes]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
        found["digest"] = str(file.attrs["digest"]).encode()
    return found


@pytest.fixture(scope="module")
def whole(zygote: Zygote, images: Path) -> dict[str, bytes]:
    """The content of the uninterrupted store."""
    folder = images.parent
    zygote.start(folder / "log", *command(images, folder / "whole.h5"))
    assert zygote.status() == 0, (folder / "log").read_text()
    return content(folder / "whole.h5")


def kill_and_resume(zygote: Zygote, images: Path, out: Path, *, after_seconds: float) -> int | None:
    """Return how the first run ended (None: before the kill); then the run is resumed to its end."""
    log = out.with_suffix(".log")
    child = zygote.start(log, *command(images, out))
    before = zygote.ended(within_seconds=after_seconds)
    if not before:
        os.kill(child, signal.SIGKILL)
    status = zygote.status()
    zygote.start(log, *command(images, out))
    assert zygote.status() == 0, log.read_text()
    return None if before else status


def test_killed_at_20_random_moments_and_resumed_the_store_is_the_same(
    zygote: Zygote, images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    generator = np.random.default_rng(11)
    killed, longest, number = 0, 1.0, 0
    while killed < 20 and number < 60:
        out = tmp_path / f"{number}.h5"
        moment = float(generator.uniform(0, longest))
        status = kill_and_resume(zygote, images, out, after_seconds=moment)
        assert content(out) == whole
        assert not out.with_name(out.name + ".parts").exists()
        killed += status == -signal.SIGKILL
        longest = max(0.2, moment) if status is None else longest * 1.1
        number += 1
    assert killed == 20


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_terminated_or_interrupted_and_resumed_the_store_is_the_same(
    zygote: Zygote, images: Path, whole: dict[str, bytes], tmp_path: Path, kind: signal.Signals
) -> None:
    out = tmp_path / "a.h5"
    child = zygote.start(out.with_suffix(".log"), *command(images, out))
    parts = out.with_name("a.h5.parts")
    while not (parts / "ledger.json").exists():
        assert not zygote.ended(within_seconds=0.005), out.with_suffix(".log").read_text()
    os.kill(child, kind)

    assert zygote.status() == 130
    assert "run the same command again to resume" in out.with_suffix(".log").read_text()
    assert not out.exists()
    zygote.start(out.with_suffix(".log"), *command(images, out))
    assert zygote.status() == 0
    assert content(out) == whole


def test_two_processes_on_one_output_the_second_is_refused_until_the_first_is_dead(
    zygote: Zygote, images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "a.h5"
    child = zygote.start(out.with_suffix(".log"), *command(images, out))
    parts = out.with_name("a.h5.parts")
    while not (parts / "ledger.json").exists():
        assert not zygote.ended(within_seconds=0.005)
    os.kill(child, signal.SIGSTOP)
    second = Zygote()

    second.start(tmp_path / "second.log", *command(images, out))
    assert second.status() == 1
    assert f"is being written by process {child} on" in (tmp_path / "second.log").read_text()
    os.kill(child, signal.SIGKILL)
    assert zygote.status() == -signal.SIGKILL
    second.start(tmp_path / "second.log", *command(images, out))
    assert second.status() == 0
    second.close()
    assert content(out) == whole


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """On a file system of its own, too small at first; a mount of one's own needs a name space of one's own."""
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    run = [sys.executable, str(_HERE / "fakes.py"), *command(images, disk / "a.h5")]
    script = f"""
        mount -t tmpfs -o size=64k tmpfs {disk} || exit 99
        {" ".join(run)} 2>{log}; echo first $? >>{log}
        mount -o remount,size=20m {disk}
        {" ".join(run)} 2>>{log}; echo second $? >>{log}
        cp {disk}/a.h5 {tmp_path}/a.h5
    """
    subprocess.run(["unshare", "-rm", "sh", "-c", script], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    text = log.read_text()
    assert "cannot be written: no space is left" in text, text
    assert "first 1" in text, text
    assert "second 0" in text, text
    assert content(tmp_path / "a.h5") == whole
