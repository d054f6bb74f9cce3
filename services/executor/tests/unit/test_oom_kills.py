"""Kills for memory are counted in the worker's own control group, in both versions; each explains one process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from spinner_executor.adapters.local.oom_kills import OomKills

# As the kernel writes them: a service of systemd, a container that sees its group alone, and one that sees the
# machine's path of it.
SERVICE = "0::/system.slice/spinner.service\n"
VERSION_1 = "5:cpu,cpuacct:/docker/12ab\n4:memory:/docker/12ab\n1:name=systemd:/docker/12ab\n0::/docker/12ab\n"


def write(file: Path, kills: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"low 0\nhigh 0\nmax 7\noom {kills}\noom_kill {kills}\noom_group_kill 0\n")


def made(folder: Path, groups: str) -> OomKills:
    (folder / "proc" / "self").mkdir(parents=True, exist_ok=True)
    (folder / "proc" / "self" / "cgroup").write_text(groups)
    return OomKills(folder / "proc", folder / "cgroup")


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        (SERVICE, "cgroup/system.slice/spinner.service/memory.events"),
        ("0::/\n", "cgroup/memory.events"),
        ("0::/kubepods/pod1/2\n", "cgroup/memory.events"),
        (VERSION_1, "cgroup/memory/docker/12ab/memory.oom_control"),
        (VERSION_1, "cgroup/memory/memory.oom_control"),
        ("0::/\n", "proc/vmstat"),
    ],
)
def test_a_kill_in_the_own_group_explains_one_process(tmp_path: Path, groups: str, file: str) -> None:
    write(tmp_path / file, 3)
    kills = made(tmp_path, groups)
    assert not kills.explain_one()
    write(tmp_path / file, 5)
    assert [kills.explain_one() for _ in range(3)] == [True, True, False]


def test_an_old_kill_explains_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cgroup" / "memory.events"
    write(file, 0)
    kills, now = made(tmp_path, "0::/\n"), time.monotonic()
    write(file, 1)
    kills.look(now + 11)
    write(file, 2)
    kills.look(now + 22)
    assert [kills.explain_one() for _ in range(2)] == [True, False]


def test_what_another_group_counted_explains_nothing(tmp_path: Path) -> None:
    write(tmp_path / "cgroup" / "a" / "memory.events", 0)
    write(tmp_path / "cgroup" / "b" / "memory.events", 9)
    kills = made(tmp_path, "0::/a\n")
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/b\n")
    assert not kills.explain_one()
    write(tmp_path / "cgroup" / "b" / "memory.events", 10)
    assert kills.explain_one()
