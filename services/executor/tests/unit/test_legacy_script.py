"""The legacy container's script tells what its control group counted, in both versions, as the worker reads it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from spinner_executor.adapters.kubernetes import legacy

# As the kernel writes them: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst and cpuacct.rst.
VERSION_2 = {
    "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill {kills}\noom_group_kill 0\n",
    "memory.peak": "104857600\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
}
VERSION_2_OF_AN_OLD_KERNEL = {name: text for name, text in VERSION_2.items() if name != "memory.peak"}
VERSION_1 = {
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n",
    "memory/memory.max_usage_in_bytes": "104857600\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
}


def run(folder: Path, tree: dict[str, str], kills: int, command: str) -> tuple[str, bytes]:
    """Runs the script with this control group; its status and the command's output."""
    group, shared = folder / "cgroup", folder / "shared"
    shared.mkdir()
    for name, text in tree.items():
        (group / name).parent.mkdir(parents=True, exist_ok=True)
        (group / name).write_text(text.format(kills=kills))
    script = legacy.container("image", "IfNotPresent", {})["command"][2]
    # It ends everything in its container; here that would be everything.
    script = script.replace("/sys/fs/cgroup", str(group)).replace("-- -1", "0").replace(legacy.FOLDER, str(shared))
    assert "kill -s TERM 0" in script and "kill -s KILL 0" in script
    process = subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, cwd=folder)
    output: list[bytes] = []
    try:
        waiting = threading.Event()
        while not (shared / "ready").exists():
            assert process.poll() is None and not waiting.wait(0.01)
        reader = threading.Thread(target=lambda: output.append((shared / "output").read_bytes()))
        reader.start()
        (shared / "command").write_text(f"{command}\n")
        reader.join(30)
        for _ in range(3000):
            if (shared / "status").exists():
                break
            waiting.wait(0.01)
        return (shared / "status").read_text().strip(), output[0]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("tree", "peak"),
    [(VERSION_1, 104857600), (VERSION_2, 104857600), (VERSION_2_OF_AN_OLD_KERNEL, 0)],
    ids=["version 1", "version 2", "version 2 of an old kernel"],
)
@pytest.mark.parametrize("kills", [0, 2])
def test_what_the_control_group_counted_is_told(tmp_path: Path, tree: dict[str, str], peak: int, kills: int) -> None:
    status, output = run(tmp_path, tree, kills, "echo it runs; exit 3")
    assert status == f"exit=3 oom={kills} peak={peak} cpu=2500000000"
    assert output == b"it runs\n"
