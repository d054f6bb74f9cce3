"""Peak memory and CPU time of a worker: its process tree, or its own control group in both versions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from spinner.runtime.usage import Cgroup, Meter
from spinner_servers import cgroups

MIB = 1024 * 1024
HOG = """
import sys
held = bytearray(int(sys.argv[1]))
held[::4096] = b"x" * len(held[::4096])
print("up", flush=True)
sys.stdin.read()
"""
BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def hog(mib: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOG, str(mib * MIB)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_two_children_at_the_same_time_add_up() -> None:
    meter = Meter()
    children = [hog(60), hog(60)]
    meter.look()
    for child in children:
        child.communicate()
    assert meter.usage().peak_memory_bytes > 125 * MIB


def test_the_cpu_time_of_living_children_counts() -> None:
    meter = Meter()
    before = meter.usage().cpu_seconds
    burner = subprocess.Popen(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass\nprint(1, flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert burner.stdout is not None
    burner.stdout.readline()
    living = meter.usage().cpu_seconds - before
    burner.communicate(b"\n")
    assert living >= 0.4
    assert meter.usage().cpu_seconds - before >= 0.4


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2_leaves_out_cache_that_can_be_given_back(tmp_path: Path) -> None:
    write(
        tmp_path,
        memory__current="734003200\n",
        memory__peak="1048576000\n",
        memory__stat="anon 524288000\nfile 209715200\ninactive_file 104857600\n",
        cpu__stat="usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
    )
    group = Cgroup.find(str(tmp_path))
    assert group is not None and group.version == 2
    assert group.peak_memory_bytes() == 1048576000 - 104857600
    assert group.cpu_seconds() == 2.5


def test_version_2_of_an_old_kernel_without_a_peak_goes_by_what_was_seen(tmp_path: Path) -> None:
    write(tmp_path, memory__current="500000000\n", memory__stat="inactive_file 100000000\n", cpu__stat="usage_usec 1\n")
    group = Cgroup.find(str(tmp_path))
    assert group is not None
    group.look()
    write(tmp_path, memory__current="200000000\n")
    assert group.peak_memory_bytes() == 400000000


def test_version_1_sums_up_a_group(tmp_path: Path) -> None:
    write(
        tmp_path / "memory",
        memory__usage_in_bytes="1\n",
        memory__max_usage_in_bytes="136314880\n",
        memory__stat="inactive_file 7\ntotal_inactive_file 31457280\n",
    )
    write(tmp_path / "cpuacct", cpuacct__usage="500000000\n")
    group = Cgroup.find(str(tmp_path))
    assert group is not None and group.version == 1
    assert group.peak_memory_bytes() == 136314880 - 31457280
    assert group.cpu_seconds() == 0.5


@pytest.fixture
def container_root(control_group: str, tmp_path: Path) -> Path:
    """The kernel's own files of a real group, of the version that this machine has, as a container sees them."""
    if cgroups.is_version_2():
        return cgroups.folders(control_group)[0]
    for folder in cgroups.folders(control_group):
        (tmp_path / folder.parent.name).symlink_to(folder)
    return tmp_path


def test_the_kernel_counts_processes_that_were_killed(container_root: Path, control_group: str) -> None:
    group = Cgroup.find(str(container_root))
    assert group is not None and group.version == (2 if cgroups.is_version_2() else 1)
    files = [str(folder / "cgroup.procs") for folder in cgroups.folders(control_group)]
    enter = f"for file in {files!r}: open(file, 'w').write('0')\n"
    process = subprocess.Popen(
        [sys.executable, "-c", enter + BURN + HOG, str(120 * MIB)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert 120 * MIB < group.peak_memory_bytes() < 200 * MIB
    assert 0.2 < group.cpu_seconds() < 10
