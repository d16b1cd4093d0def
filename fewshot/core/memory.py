"""How much memory a program can still take on this machine, within the limits of its container."""

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
_UNKNOWN_BYTES = 8 << 30  # where the system does not report it


def free_bytes(*, proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Return the bytes that can be taken now: of the machine's memory, and of every control group this process is in.

    Containers and Slurm limit memory by control groups, version 1 or 2; a limit of a group holds for those inside it.
    File cache that the kernel would give back counts as free.

    Args:
        proc, groups: where the kernel shows processes and control groups.
    """
    found = [_machine_bytes(proc)]
    found += [_left(group, "memory.max", "memory.current", "inactive_file") for group in _groups(proc, groups, "")]
    memory = groups / "memory"
    found += [
        _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for group in _groups(proc, memory, "memory")
    ]
    known = [number for number in found if number is not None]
    return min(known, default=_UNKNOWN_BYTES)


def _machine_bytes(proc: Path) -> int | None:
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _groups(proc: Path, mounted: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, the innermost first, then those around it.

    Args:
        mounted: where the groups of the controller are; the outermost one.
        controller: ``memory`` of version 1, or empty for version 2.
    """
    inside = _own_group(proc, controller)
    for part in (inside, *inside.parents):
        yield mounted / part


def _own_group(proc: Path, controller: str) -> Path:
    """Return the process's group relative to the outermost one; a line is ``number:controllers:/path``."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return Path()
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            return Path(path.lstrip("/"))
    return Path()


def _left(group: Path, limit: str, used: str, cache: str) -> int | None:
    """Return what a group may still take, None where it has no limit."""
    try:
        most, taken = int((group / limit).read_text()), int((group / used).read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None
    return max(0, most - taken + _cached(group, cache))


def _cached(group: Path, name: str) -> int:
    try:
        lines = (group / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name} "))
    except (OSError, StopIteration, ValueError, IndexError):
        return 0
