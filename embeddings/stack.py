"""What computes on this machine: devices, FAISS's build and the libraries that can change a number."""

import platform
from pathlib import Path

from fewshot.core.provenance import stack_versions

_CPU_INFO = Path("/proc/cpuinfo")


def stack() -> dict[str, str]:
    """Return name -> description: Python, every device, FAISS and its build, then the versions of the libraries.

    Loads torch and FAISS, because only they know what they can use. One that cannot be loaded is described by the
    reason: this is what users paste into a report of something broken.
    """
    versions = stack_versions()
    python = f"{versions.pop('python')} ({platform.system()} {platform.machine()})"
    distribution = next((name for name in ("faiss-gpu", "faiss-cpu") if name in versions), "faiss")
    libraries = {name: found for name, found in versions.items() if not name.startswith(("faiss", "fewshot"))}
    return {"python": python, **devices(), "faiss": _faiss(distribution), **libraries}


def devices() -> dict[str, str]:
    """Return ``cpu`` and every ``cuda:N`` that torch can use, with their names."""
    found = {"cpu": f"{processor()}, {_cores()}"}
    try:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found.update({f"cuda:{number}": torch.cuda.get_device_name(number) for number in range(count)})
    except (ImportError, OSError, RuntimeError) as error:
        return {**found, "cuda": f"unknown: torch cannot be loaded ({error})"}
    return found if count else {**found, "cuda": "none that torch can use"}


def processor() -> str:
    """Return the processor's name, as the kernel reports it, where it does."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named or [platform.processor() or platform.machine() or "unknown processor"])[0]


def _cores() -> str:
    import os

    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return f"{count} core{'' if count == 1 else 's'}"


def _faiss(distribution: str) -> str:
    try:
        from fewshot.embeddings.search.faiss_index import faiss_build
    except (ImportError, OSError) as error:
        return f"cannot be loaded ({error})"
    return f"{faiss_build()} from {distribution}"
