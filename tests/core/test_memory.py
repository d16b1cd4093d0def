"""Free memory is the least of what the machine and every control group around the process leave."""

from pathlib import Path

import pytest

from fewshot.core.memory import free_bytes

MIB = 1 << 20


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of a machine with 1000 MiB available, in no group."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal:  {4000 * 1024} kB\nMemFree:  {90 * 1024} kB\nMemAvailable:  {1000 * 1024} kB\n"
    )
    return tmp_path / "proc"


def group(folder: Path, *, limit: int | str, used: int, cache: int = 0) -> None:
    """A group of version 2; sizes in MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit if isinstance(limit, str) else limit * MIB}\n")
    (folder / "memory.current").write_text(f"{used * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cache * MIB}\nactive_file 7\n")


def old_group(folder: Path, *, limit: int, used: int, cache: int = 0) -> None:
    """A group of version 1; sizes in MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit * MIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used * MIB}\n")
    (folder / "memory.stat").write_text(f"cache 1\ninactive_file 3\ntotal_inactive_file {cache * MIB}\n")


def test_without_groups_it_is_what_the_machine_has_available(proc: Path, tmp_path: Path) -> None:
    assert free_bytes(proc=proc, groups=tmp_path / "none") == 1000 * MIB


def test_the_limit_of_a_container_is_honoured(proc: Path, tmp_path: Path) -> None:
    (proc / "self/cgroup").write_text("0::/\n")
    group(tmp_path / "groups", limit=300, used=100)

    assert free_bytes(proc=proc, groups=tmp_path / "groups") == 200 * MIB


def test_the_limit_of_a_nested_group_is_that_of_this_process_alone(proc: Path, tmp_path: Path) -> None:
    (proc / "self/cgroup").write_text("0::/slurm/job_7/step_0\n")
    group(tmp_path / "groups", limit="max", used=3000)
    group(tmp_path / "groups/slurm/job_7/step_0", limit=500, used=100)
    group(tmp_path / "groups/slurm/job_8", limit=50, used=50)

    assert free_bytes(proc=proc, groups=tmp_path / "groups") == 400 * MIB


def test_the_limit_of_a_group_holds_for_those_inside_it(proc: Path, tmp_path: Path) -> None:
    (proc / "self/cgroup").write_text("0::/slurm/job_7/step_0\n")
    group(tmp_path / "groups/slurm/job_7", limit=500, used=450)
    group(tmp_path / "groups/slurm/job_7/step_0", limit="max", used=100)

    assert free_bytes(proc=proc, groups=tmp_path / "groups") == 50 * MIB


def test_file_cache_that_the_kernel_gives_back_is_free(proc: Path, tmp_path: Path) -> None:
    group(tmp_path / "groups", limit=300, used=290, cache=150)

    assert free_bytes(proc=proc, groups=tmp_path / "groups") == 160 * MIB


def test_version_1_is_read_too_nested_or_seen_from_inside_a_container(proc: Path, tmp_path: Path) -> None:
    unlimited = (1 << 63) // MIB - 1
    (proc / "self/cgroup").write_text("12:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n0::/\n")
    old_group(tmp_path / "groups/memory", limit=unlimited, used=3000)
    old_group(tmp_path / "groups/memory/docker/abc", limit=700, used=300, cache=100)
    old_group(tmp_path / "inside/memory", limit=600, used=300)  # /docker/abc is the mounted root itself

    assert free_bytes(proc=proc, groups=tmp_path / "groups") == 500 * MIB
    assert free_bytes(proc=proc, groups=tmp_path / "inside") == 300 * MIB


def test_the_machine_counts_where_it_has_less_than_the_limit(proc: Path, tmp_path: Path) -> None:
    group(tmp_path / "groups", limit=5000, used=100)

    assert free_bytes(proc=proc, groups=tmp_path / "groups") == 1000 * MIB


def test_more_used_than_allowed_is_nothing_free(proc: Path, tmp_path: Path) -> None:
    group(tmp_path / "groups", limit=100, used=120)

    assert free_bytes(proc=proc, groups=tmp_path / "groups") == 0


def test_where_the_system_reports_nothing_8_gib_are_assumed(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: many\n")

    assert free_bytes(proc=tmp_path, groups=tmp_path / "none") == 8 << 30


def test_this_machine_has_some_free() -> None:
    assert free_bytes() > 0
