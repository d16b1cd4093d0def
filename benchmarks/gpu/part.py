"""Run one part in this process, ``python -m benchmarks.gpu.part NAME``: each line of the table is one line of JSON."""

import importlib
import os
import sys

from benchmarks.gpu.sizes import CARD, DRY


def main(name: str) -> None:
    """Print each line of a part as soon as it is known."""
    sizes = DRY if os.environ.get("DRY") else CARD
    lines_out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no line of the table
    for line in importlib.import_module(f"benchmarks.gpu.parts.{name}").lines(sizes):
        lines_out.write(line.to_json() + "\n")
        lines_out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
