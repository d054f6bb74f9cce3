"""What a killed owner of a node leaves behind is found and ended by the next start, and nothing of living ones is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from spinner_servers import cgroups
from spinner_servers import kubernetes_node as server

# An owner like a test's: a node's control groups with a pod that runs on, then a SIGKILL.
OWNER = """
import os, pathlib, signal, subprocess, sys
from spinner_servers import cgroups, kubernetes_node
node = kubernetes_node.Node(pathlib.Path(sys.argv[1]), None)
kubernetes_node.register(node.data, temporary=True)
name, *rest = (*node.pods.split("/"), "besteffort", "pod1", "container1")
cgroups.make(name, divided=True)
for part in rest:
    name = f"{name}/{part}"
    cgroups.make(name, divided=part != "container1")
def enter():
    for folder in cgroups.folders(name):
        (folder / "cgroup.procs").write_text("0")
command = ["sh", "-c", "sleep 4545 & sleep 4545"]
pod = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True, preexec_fn=enter)
print(pod.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if why := server.missing():
        pytest.skip(why)
    monkeypatch.setenv("SPINNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nodes"


@pytest.mark.parametrize("folder_is_left", [True, False])
def test_pods_and_groups_of_a_killed_owner_go(tmp_path: Path, register: Path, folder_is_left: bool) -> None:
    data = tmp_path / "spinner-node-left"
    data.mkdir()
    owner = subprocess.run([sys.executable, "-c", OWNER, str(data)], stdout=subprocess.PIPE, check=False, timeout=60)
    group = server.Node(data, None).pods.split("/")[0]  # type: ignore[arg-type]
    pod = [psutil.Process(pid) for pid in cgroups.processes(group)]
    assert int(owner.stdout) in [process.pid for process in pod]
    if not folder_is_left:
        shutil.rmtree(data)
    server.reap()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in pod)
    assert not any(folder.exists() for folder in cgroups.folders(group))
    assert not data.exists() and not list(register.glob("*.json"))


def test_a_node_that_is_being_started_stays(tmp_path: Path, register: Path) -> None:
    data = tmp_path / "spinner-node-new"
    node = server.Node(data, None)  # type: ignore[arg-type]
    group = node.pods.split("/")[0]
    server.register(data, temporary=True)
    cgroups.make(group, divided=True)
    try:
        server.reap()
        assert all(folder.exists() for folder in cgroups.folders(group)) and len(list(register.glob("*.json"))) == 1
    finally:
        server.stop(data)
    assert not any(folder.exists() for folder in cgroups.folders(group)) and not list(register.glob("*.json"))


def test_processes_that_start_others_while_they_are_killed_go(control_group: str) -> None:
    forks = "while :; do sleep 0.01 & wait $!; done"
    enter = "".join(f"echo 0 > {folder}/cgroup.procs || exit\n" for folder in cgroups.folders(control_group))
    makers = [subprocess.Popen(["sh", "-c", enter + forks], start_new_session=True) for _ in range(5)]
    while not {maker.pid for maker in makers} <= cgroups.processes(control_group):
        assert all(maker.poll() is None for maker in makers)
    cgroups.remove(control_group)
    assert not any(folder.exists() for folder in cgroups.folders(control_group))
    for maker in makers:
        assert maker.wait(30) == -9
