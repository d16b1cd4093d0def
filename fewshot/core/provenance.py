"""How a result was made: versions, machine and command, to stand beside every number."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STACK = (
    "fewshot",
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "transformers",
    "scikit-learn",
    "faiss-gpu",
    "faiss-cpu",
    "numpy",
    "h5py",
    "pillow",
)


def stack_versions() -> dict[str, str]:
    """Return the installed versions of the libraries that can change a number, without importing them."""
    found = {}
    for name in STACK:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}


def threads() -> dict[str, Any]:
    """Return how many threads compute: sums are rounded in another order with another number.

    ``torch`` is what torch uses (None where it is not loaded); the variables are what the others go by.
    """
    torch = sys.modules.get("torch")
    count = getattr(torch, "get_num_threads", None)
    set_by = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"torch": count() if callable(count) else None, "usable_cpus": usable, **set_by}


def provenance() -> dict[str, Any]:
    """Return what a report or a store keeps of how it was made; JSON values only.

    Host, time and command are for the reader; they enter no digest.
    """
    return {
        "versions": stack_versions(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": threads(),
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],  # noqa: PTH119
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
