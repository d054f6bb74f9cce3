"""`make bench-peers`: the workloads of performance.md on Spinner, Airflow, Prefect and Dagster, taking turns.

Every round gives each peer one turn: start, W1 twice, W2 once, in the first round W3, memory and the web API too,
stop. So all see the same machine, and nobody runs while another is measured. Each result is kept at once, below
build/bench/peers: what is there isn't measured again (unless with --again), so a comparison may be made in parts, such
as `python -m bench.peers --peer airflow --workload w1 --round 2`. The report is made of all that is kept: a table,
figures in build/bench/bench-peers.json, and the section and plot of docs/benchmarks.md. A peer that fails is named; the
others go on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import psutil

from bench.figures import machine, write
from bench.peers import report
from bench.peers.airflow import Airflow
from bench.peers.dagster import Dagster
from bench.peers.peer import Peer
from bench.peers.pieces import Piece, Pieces, figures, undisturbed
from bench.peers.prefect import Prefect
from bench.peers.processes import cpu_seconds, memory_mib, memory_peak
from bench.peers.sizes import FULL, SMALL, Sizes
from bench.peers.spinner import Spinner
from bench.peers.web import look
from e2e.harness import ROOT

PEERS: dict[str, Callable[[Sizes], Peer]] = {
    "spinner": Spinner,
    "airflow": Airflow,
    "dagster": lambda sizes: Dagster(sizes, isolated=True),
    "dagster-in-process": lambda sizes: Dagster(sizes, isolated=False),
    "prefect": lambda sizes: Prefect(sizes, isolated=False),
    "prefect-processes": lambda sizes: Prefect(sizes, isolated=True),
}
TIMES = {"w1": 2, "w2": 1, "w3": 1, "memory": 1, "web": 1}
IN_FIRST_ROUND_ONLY = {"memory", "w3", "web"}
REST_SECONDS = 5.0
SETTLE_SECONDS = 3.0  # what servers still do for a run that has ended is counted


def measure(peer: Peer, workload: str) -> dict[str, list[float]]:
    """One workload's figures, as often as it is due in a turn."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(TIMES[workload]):
        before = cpu_seconds(peer.processes())
        if workload == "memory":
            found = {}
            if peer.serves:
                time.sleep(SETTLE_SECONDS)
                before = cpu_seconds(peer.processes())
                time.sleep(REST_SECONDS)  # the measured interval itself
                at_rest = peer.processes()
                found["rest_cpu_percent"] = 100 * (cpu_seconds(at_rest) - before) / REST_SECONDS
                found["rest_mib"] = memory_mib(at_rest)
            with memory_peak(peer.processes) as samples:
                peer.run("w2")
            found["w2_peak_mib"] = max(samples)
        elif workload == "web":
            page = peer.dags_page()
            found = look(page) if page else {}
        else:
            found = peer.run(workload)
            if workload == "w2":
                time.sleep(SETTLE_SECONDS if peer.serves else 0)
                used = cpu_seconds(peer.processes()) - before
                found["w2_cpu_ms_per_task"] = 1000 * used / peer.sizes.tasks("w2")
        print("     " + ", ".join(f"{name} = {value:.4g}" for name, value in found.items()), flush=True)
        for name, value in found.items():
            values[name].append(round(value, 4))
    return dict(values)


def turn(name: str, peer: Peer, workloads: Sequence[str], number: int, pieces: Pieces) -> None:
    """One peer's turn; each workload's piece is kept as soon as it is there."""
    load, version = round(os.getloadavg()[0], 2), peer.version
    try:
        peer.start()
        print("   … started", flush=True)
        for workload in workloads:
            print(f"   … {workload}", flush=True)
            begin, busy = time.monotonic(), _busy_seconds()
            mine = cpu_seconds(peer.processes()) + _own_seconds()
            values = measure(peer, workload)
            mine = cpu_seconds(peer.processes()) + _own_seconds() - mine
            others = max(0.0, _busy_seconds() - busy - mine) / (time.monotonic() - begin)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            pieces.keep(Piece(name, version, workload, number, now, load, round(100 * others, 1), values))
    finally:
        peer.stop()


def main() -> int:
    """Measures what is chosen and not yet there, then reports; returns 0 whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--peer", choices=PEERS, action="append", help="only these; may be repeated, in this order")
    parser.add_argument("--workload", choices=TIMES, action="append", help="only these; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each peer (3)")
    parser.add_argument("--round", type=int, help="only this turn, all its chosen workloads")
    parser.add_argument("--again", action="store_true", help="measure also what is there already")
    parser.add_argument("--small", action="store_true", help="small workloads, to try the peers; no report")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--no-report", action="store_true", help="only measure")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "bench-peers.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where benchmarks.md and the plot are")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    sizes = SMALL if arguments.small else FULL
    pieces = Pieces(arguments.output.parent / ("peers-small" if arguments.small else "peers"))
    peers = {name: make(sizes) for name, make in PEERS.items()}
    if not arguments.report:
        chosen = {name: peers[name] for name in arguments.peer or PEERS}
        numbers = [arguments.round] if arguments.round else range(1, arguments.rounds + 1)
        workloads = arguments.workload or [*TIMES]
        for number in numbers:
            due = [w for w in workloads if arguments.round or number == 1 or w not in IN_FIRST_ROUND_ONLY]
            _round(chosen, number, due, pieces, arguments.again)
    if not arguments.small and not arguments.no_report:
        everything = pieces.all()
        kept = undisturbed(everything)
        if not kept:
            print("nothing was measured yet", file=sys.stderr)
            return 0
        facts = machine() | {"load": max(piece.load for piece in kept)}
        rows = report.rows(peers, kept)
        write(arguments.output, facts, figures(kept))
        report.write_docs(arguments.docs, facts, rows, kept, len(everything) - len(kept))
        print(f"\n{report.table(rows)}\n\nwritten to {arguments.output} and {arguments.docs}/benchmarks.md")
    return 0


def _round(peers: dict[str, Peer], number: int, workloads: Sequence[str], pieces: Pieces, again: bool) -> None:
    for name, peer in peers.items():
        due = [w for w in workloads if w in peer.workloads and (again or not pieces.has(name, w, number))]
        if not due:
            print(f"== round {number}, {peer.name}: is there", flush=True)
            continue
        print(f"== round {number}, {peer.name}: {', '.join(due)}", flush=True)
        begin = time.monotonic()
        try:
            peer.install()
            turn(name, peer, due, number, pieces)
        except Exception:  # noqa: BLE001 - the others are still worth measuring
            print(f"   the rest of {peer.name}'s turn could not be measured:", file=sys.stderr)
            traceback.print_exc()
        print(f"   {time.monotonic() - begin:.0f} s", flush=True)


def _busy_seconds() -> float:
    """CPU that this machine used since its start, waiting not counted."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")))


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system


def _end(number: int, frame: FrameType | None) -> None:
    """The first SIGTERM ends as an error would: peers are stopped, results kept. Later ones change nothing."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
