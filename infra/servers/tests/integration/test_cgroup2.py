"""A command under a kernel with cgroup v2 alone: it changes nothing here but what is shared, and never outlives us."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from spinner_servers import cgroup2

# Of `make e2e-cgroup2`, not of `make test`.
pytestmark = [pytest.mark.kubernetes, pytest.mark.cgroup2]
COMMAND = [sys.executable, "-m", "spinner_servers.cgroup2", "--memory", "512"]


@pytest.fixture(autouse=True)
def possible() -> None:
    if why := cgroup2.missing():
        pytest.skip(why)


def test_a_command_sees_version_2_and_this_machines_files_and_changes_only_what_is_shared(tmp_path: Path) -> None:
    shared, own = tmp_path, Path(__file__)
    script = f"""
    cat /sys/fs/cgroup/cgroup.controllers; head -n 1 {own}
    mkdir /sys/fs/cgroup/a && echo +memory > /sys/fs/cgroup/cgroup.subtree_control
    cp /sys/fs/cgroup/a/memory.max {shared}/limit
    echo other > {own}; cat {own}; exit 7
    """
    done = subprocess.run(
        [*COMMAND, "--share", str(shared), "sh", "-c", script], stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 7, done.stdout
    controllers, first, other = done.stdout.splitlines()
    assert {"cpu", "memory", "pids"} <= set(controllers.split())
    assert (first, other) == (own.read_text().splitlines()[0], "other")
    assert (shared / "limit").read_text() == "max\n"
    assert first.startswith('"""')


def test_nothing_of_it_outlives_a_killed_owner() -> None:
    owner = subprocess.Popen([*COMMAND, "sh", "-c", "echo it runs; sleep 4646"], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"it runs\n"
    family = psutil.Process(owner.pid).children(recursive=True)
    assert any("linux.uml" in process.name() for process in family)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
