"""SIGTERM and SIGHUP end a command as Ctrl-C does; one that is ignored stays ignored."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fewshot.core.signals import raise_if_interrupted, terminate_as_interrupt

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SCRIPT = """\
import sys
from fewshot.core.signals import terminate_as_interrupt
try:
    with terminate_as_interrupt():
        print("ready", flush=True)
        sys.stdin.read()
        print("went on")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    """Nothing is ignored at first, although nohup may have started the tests."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_ends_interrupts_the_block_and_is_as_before_behind_it(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    with pytest.raises(KeyboardInterrupt), terminate_as_interrupt():
        os.kill(os.getpid(), number)

    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize(("trap", "said"), [("", "interrupted"), ("trap '' INT HUP TERM; ", "went on")])
def test_a_process_is_interrupted_unless_its_caller_had_the_signal_ignored(
    tmp_path: Path, number: signal.Signals, trap: str, said: str
) -> None:
    command = [sys.executable, "-c", SCRIPT]
    process = subprocess.Popen(
        ["sh", "-c", f'{trap}exec "$@"', "sh", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(number)

    assert process.communicate("")[0] == f"{said}\n"
    assert process.returncode == 0


@pytest.mark.parametrize("number", ENDING)
def test_an_interrupt_that_python_cannot_raise_is_not_lost(number: signal.Signals) -> None:
    landed = []

    class Collected:
        def __del__(self) -> None:
            landed.append(True)
            os.kill(os.getpid(), number)
            time.sleep(0)  # where Python looks for signals, and cannot raise

    @terminate_as_interrupt()
    def run() -> None:
        Collected()
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert landed == [True]


def test_an_interrupt_that_a_library_made_an_error_of_is_one_again() -> None:
    @terminate_as_interrupt()
    def decode(*, ended: bool, looks: bool) -> None:
        try:
            if ended:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
        except KeyboardInterrupt:
            pass
        if looks:
            raise_if_interrupted()
        raise ValueError("damaged")

    for looks in (True, False):
        with pytest.raises(KeyboardInterrupt):
            decode(ended=True, looks=looks)
        with pytest.raises(ValueError, match="damaged"):  # nothing of the run before is left
            decode(ended=False, looks=looks)


def test_another_thread_leaves_the_signals_alone() -> None:
    found = []

    def look() -> None:
        with terminate_as_interrupt():
            found.append([signal.getsignal(number) for number in ENDING])

    before = [signal.getsignal(number) for number in ENDING]
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert found == [before]
