"""A disk that fills up in the middle of runs: with room again all goes on by itself, nothing lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.harness import ROOT, Stack, unique, wait_for

RUNS, STEPS = 10, 6
SIZE_MIB = 400


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of its own, in memory."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounts a file system, for which Linux wants root")
    mounted = Path(tempfile.mkdtemp(prefix="sp-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(mounted)], check=True)
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)
    mounted.rmdir()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


def test_a_full_disk_loses_nothing_and_repeats_nothing(disk: Path, tmp_path: Path) -> None:
    stack = Stack({"e2e": ROOT / "e2e" / "dags"}, examples=False, parent=disk)
    stack.marks = tmp_path  # what tasks themselves write is elsewhere
    try:
        stack.up()
        wait_for("the DAG is known", lambda: "e2e_chain" in stack.dag_ids())
        batch = unique("full")
        runs = {f"{batch}-{number:02d}" for number in range(RUNS)}
        stack.trigger_many([("e2e_chain", run_id) for run_id in sorted(runs)], {"seconds": 0.8})
        wait_for("work in full swing", lambda: len(stack.read_marks("e2e_chain", runs)) >= RUNS)
        broker = stack.service("kafka")["pid"]
        fill(disk / "filler")
        wait_for("the broker ended by the full disk", lambda: stack.service("kafka")["pid"] != broker)
        refused = stack.rest("POST", "/dags/e2e_chain/runs", json={"run_id": f"{batch}-refused"})
        assert refused.status_code == 503, refused.text

        (disk / "filler").unlink()
        wait_for("all services are back", lambda: all(row["state"] == "running" for row in stack.json("status")), 90)
        states = stack.all_finished("e2e_chain", runs)
        assert Counter(states.values()) == {"success": RUNS}
        starts = Counter((mark.run_id, mark.task_id, mark.try_number) for mark in stack.read_marks("e2e_chain", runs))
        assert {key: count for key, count in starts.items() if count > 1} == {}, "a try ran twice"
        assert stack.rest("GET", f"/dags/e2e_chain/runs/{batch}-refused").status_code == 404
        verified = stack.run("events", "verify", check=False)
        assert verified.returncode == 0, verified.stdout
    finally:
        stack.close()
