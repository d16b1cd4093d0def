"""Let SIGTERM and SIGHUP end a command as Ctrl-C does: cleanly, with the message that says how to resume."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.02  # seconds, after which a signal whose interrupt was swallowed is sent once more

_received: list[int] = []  # the signals of the block that runs


def raise_if_interrupted() -> None:
    """Raise the interrupt of a block of ``terminate_as_interrupt`` again, where it may have been taken for an error.

    Raises:
        KeyboardInterrupt: a signal asked the block to end.
    """
    if _received:
        raise KeyboardInterrupt


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP (a closed terminal), while the block runs.

    Only the main thread can. A signal that is ignored, as SIGHUP is under ``nohup``, stays ignored.

    Python cannot raise out of a finalizer or a callback of a weak reference: an interrupt that lands there is printed
    and lost, and the command would go on as if nobody had asked it to end. Such a signal is sent again until it lands
    where it counts. A library may also turn the interrupt into an error of its own, as Pillow does: an error that
    leaves the block after a signal is an interrupt, and ``raise_if_interrupted`` tells it from a damaged image before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.clear()

    def interrupt(number: int, _: FrameType | None) -> None:
        _received.append(number)
        raise KeyboardInterrupt

    def send_again(unraisable: Any) -> None:
        if _received and issubclass(unraisable.exc_type, KeyboardInterrupt):
            again = threading.Timer(_AGAIN, os.kill, (os.getpid(), _received[-1]))
            again.daemon = True
            again.start()
        else:
            report_unraisable(unraisable)

    report_unraisable = sys.unraisablehook
    taken = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in taken}
    sys.unraisablehook = send_again
    try:
        yield
    except Exception as error:
        if _received:
            raise KeyboardInterrupt from error
        raise
    finally:
        _received.clear()
        sys.unraisablehook = report_unraisable
        for number, handler in before.items():
            signal.signal(number, handler)
