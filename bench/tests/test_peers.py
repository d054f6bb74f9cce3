"""The comparison with peers: what is kept, what readers see, and that nothing a peer started is left or forgotten."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.peers.__main__ import PEERS, turn
from bench.peers.marks import Marks
from bench.peers.peer import Peer
from bench.peers.pieces import Piece, Pieces, figures, undisturbed
from bench.peers.processes import Processes, cpu_seconds
from bench.peers.report import ahead, plot, rows, table, write_docs
from bench.peers.sizes import FULL

FACTS = {"cores": 2, "memory_gib": 23.5, "python": "3.11.7"}


def piece(peer: str, workload: str = "w1", number: int = 1, **values: float) -> Piece:
    found = {name: [value, value * 2, value * 3] for name, value in values.items()}
    return Piece(peer, "1.0", workload, number, "2026-11-27T15:00:00+00:00", 0.5, 3.0, found)


@pytest.fixture
def measured() -> list[Piece]:
    return [
        piece("spinner", w1_ms_per_task=10.0, w1_whole_s=0.5),
        piece("prefect", w1_ms_per_task=2.0, w1_whole_s=0.7),
        piece("airflow", w1_ms_per_task=150.0),
        piece("spinner", "w2", w2_tasks_per_s=100.0),
        piece("airflow", "w2", w2_tasks_per_s=10.0),
    ]


def peers() -> dict[str, Peer]:
    return {name: make(FULL) for name, make in PEERS.items()}


def test_the_table_has_medians_marks_the_best_and_leaves_out_what_was_not_measured(measured):
    lines = table(rows(peers(), measured)).splitlines()
    assert lines[0] == "| | Spinner | Airflow | Prefect, in process |"
    assert "| W1: 40 in sequence, ms a task | 20 | 300 | **4** |" in lines
    assert "| W2: 1 → 200 → 1, tasks/s | **200** | 20 | – |" in lines
    assert not any("W3" in line for line in lines)


def test_a_peer_that_is_ahead_is_named_and_only_there(measured):
    assert ahead(rows(peers(), measured)) == ["- W1: 40 in sequence, ms a task: Prefect, in process 4; Spinner 20."]


def test_figures_of_spinner_have_their_goals_and_those_of_peers_a_name_of_their_own(measured):
    by_name = {figure.name: figure for figure in figures(measured)}
    assert (by_name["w1_ms_per_task"].value, by_name["w1_ms_per_task"].goal) == (20.0, 12.5)
    assert (by_name["airflow_w2_tasks_per_s"].value, by_name["airflow_w2_tasks_per_s"].better) == (20.0, "higher")


def test_the_docs_section_is_replaced_and_the_rest_stays(tmp_path: Path, measured):
    (tmp_path / "benchmarks.md").write_text("# Benchmarks\n\nbefore\n")
    write_docs(tmp_path, FACTS, rows(peers(), measured), measured)
    once = (tmp_path / "benchmarks.md").read_text()
    (tmp_path / "benchmarks.md").write_text(once + "\nafter\n")
    write_docs(tmp_path, FACTS, rows(peers(), measured), measured)
    assert (tmp_path / "benchmarks.md").read_text() == once + "\nafter\n"
    assert once.startswith("# Benchmarks\n\nbefore\n") and "Prefect, in process 4; Spinner 20" in once
    assert plot(rows(peers(), measured)) == (tmp_path / "benchmarks-peers.svg").read_text()


def test_pieces_are_kept_and_forgotten_one_by_one(tmp_path: Path):
    pieces = Pieces(tmp_path / "pieces")
    pieces.keep(piece("airflow", w1_ms_per_task=150.0))
    assert pieces.has("airflow", "w1", 1) and not pieces.has("airflow", "w1", 2)
    assert Pieces(tmp_path / "pieces").all() == [piece("airflow", w1_ms_per_task=150.0)]


def test_a_disturbed_piece_counts_only_where_there_is_no_quieter_one():
    loud = replace(piece("airflow", number=2), others_cpu_percent=99.0)
    alone = replace(piece("airflow", "w3"), others_cpu_percent=99.0)
    quiet = piece("airflow")
    assert undisturbed([quiet, loud, alone]) == [quiet, alone]


class Failing(Peer):
    """Does W1, fails in W2."""

    name, isolation, durable, tuning, workloads, serves = "Failing", "none", "nothing", "none", ("w1", "w2"), False
    version = "1"
    stopped = False

    def install(self): ...

    def start(self): ...

    def run(self, workload):
        if workload == "w2":
            raise RuntimeError("it broke")
        return {"w1_ms_per_task": 1.0}

    def processes(self):
        return []

    def stop(self):
        self.stopped = True


def test_a_failure_loses_only_itself_and_the_peer_is_stopped(tmp_path: Path):
    peer, pieces = Failing(FULL), Pieces(tmp_path)
    with pytest.raises(RuntimeError, match="it broke"):
        turn("failing", peer, ["w1", "w2"], 1, pieces)
    assert peer.stopped
    assert [(found.workload, found.values) for found in pieces.all()] == [("w1", {"w1_ms_per_task": [1.0, 1.0]})]


def test_marks_give_the_figures(tmp_path: Path):
    marks = Marks(tmp_path)
    marks.begin_ns = 1_000_000_000
    for number in range(5):
        (marks.folder / f"step_{number}").write_text(str(2_000_000_000 + number * 10_000_000))
    marks.wait(5, 1)
    assert marks.values("w1") == {"w1_ms_per_task": 10.0, "w1_whole_s": 1.04}
    assert marks.values("w2") == {"w2_tasks_per_s": pytest.approx(100.0)}
    with pytest.raises(TimeoutError, match="5 of 6 tasks"):
        marks.wait(6, 0.2)


ORPHAN = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        end = time.process_time() + float(sys.argv[2])
        while time.process_time() < end: pass
        time.sleep(float(sys.argv[3]))
    os._exit(0)
"""


def test_an_orphan_of_a_job_is_waited_for_and_its_cpu_counted(tmp_path: Path):
    processes = Processes(tmp_path, {})
    try:
        before = cpu_seconds(processes.all())
        processes.call("job", sys.executable, "-c", ORPHAN, tmp_path / "pid", "0.5", "0")
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
        assert cpu_seconds(processes.all()) - before >= 0.5
    finally:
        processes.stop()


def test_stop_ends_orphans_in_sessions_of_their_own(tmp_path: Path):
    processes = Processes(tmp_path, {})
    processes.start("server", sys.executable, "-c", ORPHAN, tmp_path / "pid", "0", "60")
    deadline = time.monotonic() + 10
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    processes.stop()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_job_that_fails_says_what_it_wrote(tmp_path: Path):
    processes = Processes(tmp_path, {})
    try:
        with pytest.raises(RuntimeError, match=r"job ended with 3(.|\n)*no such thing"):
            processes.call("job", sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)")
    finally:
        processes.stop()
