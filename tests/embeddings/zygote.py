"""Run the command line again and again in forked children, so that a kill test pays for imports once.

Each line on stdin is a JSON list of arguments; the answer is two lines, the child's process id and its exit status.
"""

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until stdin ends."""
    importlib.import_module("conftest").load_fakes()  # this folder is on the path
    import fewshot.cli.embed  # loaded before the fork
    import fewshot.embeddings.extract  # noqa: F401
    from fewshot.embeddings.pipeline import units

    units._UNIT_IMAGES = 2
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    _say("ready")
    for line in sys.stdin:
        arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(arguments)
        _say(str(child))
        _say(str(os.waitpid(child, 0)[1]))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _child(arguments: dict[str, Any]) -> None:
    from fewshot.cli import main as command_line

    os.setpgid(0, 0)
    log = os.open(Path(arguments["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        command_line(arguments["command"])
    except SystemExit as error:
        os._exit(int(error.code or 0))
    os._exit(0)


if __name__ == "__main__":
    main()
