"""`make bench-peers`: the workloads of performance.md on Spinner, Airflow, Prefect and Dagster, taking turns.

Every round gives each peer one turn: start, W1 three times, W2 twice, W3 once in the first round, stop. So all see the
same machine, and nobody runs while another is measured. Writes build/bench/bench-peers.json, a table into
docs/benchmarks.md and a plot beside it. A peer that can't be installed or fails is named; the others go on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figure, figure, machine, write
from bench.peers import report
from bench.peers.airflow import Airflow
from bench.peers.dagster import Dagster
from bench.peers.peer import Peer
from bench.peers.prefect import Prefect
from bench.peers.spinner import Spinner
from e2e.harness import ROOT

PEERS: dict[str, Callable[[], Peer]] = {
    "spinner": Spinner,
    "airflow": Airflow,
    "dagster": lambda: Dagster("process"),
    "dagster-in-process": lambda: Dagster("none"),
    "prefect": Prefect,
}
TIMES = {"w1": 3, "w2": 2, "w3": 1}


def turn(peer: Peer, workloads: set[str], values: dict[str, list[float]]) -> None:
    """One peer's turn: its measurements are added to `values`."""
    peer.start()
    try:
        for workload in peer.workloads:
            if workload not in workloads:
                continue
            for _ in range(TIMES[workload]):
                answer = peer.run(workload)
                said = ", ".join(f"{name} = {value:.4g}" for name, value in answer.values.items())
                print(f"   {said}", flush=True)
                for name, value in answer.values.items():
                    values[name].append(value)
            if memory := peer.memory_mib():
                values["memory_mib"].append(memory)
    finally:
        peer.stop()


def main() -> int:
    """Runs the chosen peers; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", choices=sorted(PEERS), action="append", help="only these; may be repeated")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each peer (2)")
    parser.add_argument("--no-w3", action="store_true", help="leave the burst of 200 DAGs out")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "bench-peers.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where benchmarks.md and the plot are")
    arguments = parser.parse_args()
    facts = machine()
    peers = {name: PEERS[name]() for name in arguments.only or PEERS}
    measured: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in peers}
    for name, peer in list(peers.items()):
        try:
            peer.install()
        except Exception as error:  # noqa: BLE001 - the others are still worth measuring
            print(f"{peer.name} can't be installed: {error}", file=sys.stderr)
            del peers[name]
    for number in range(arguments.rounds):
        workloads = {"w1", "w2"} if arguments.no_w3 or number else {"w1", "w2", "w3"}
        for name, peer in peers.items():
            print(f"== round {number + 1}: {peer.name}", flush=True)
            begin = time.monotonic()
            try:
                turn(peer, workloads, measured[name])
            except Exception:  # noqa: BLE001 - as above
                print(f"   the rest of {peer.name}'s turn could not be measured:", file=sys.stderr)
                traceback.print_exc()
            print(f"   {time.monotonic() - begin:.0f} s", flush=True)
    rows = [
        report.Row(peer.name, peer.isolation, peer.tuning, {k: statistics.median(v) for k, v in measured[name].items()})
        for name, peer in peers.items()
        if measured[name]
    ]
    write(arguments.output, facts, _figures(measured))
    report.write_docs(arguments.docs, facts, rows)
    print(f"\n{report.table(rows)}\n\nwritten to {arguments.output} and {arguments.docs}/benchmarks.md")
    return 0


def _figures(measured: dict[str, dict[str, list[float]]]) -> list[Figure]:
    """Spinner's figures have their usual names, a peer's its own in front."""
    found = []
    for name, values in measured.items():
        prefix = "" if name == "spinner" else name.replace("-", "_") + "_"
        for figure_name, runs in values.items():
            better = "higher" if figure_name.endswith("_per_s") else "lower"
            unit = "MiB" if figure_name == "memory_mib" else figure(figure_name, runs).unit
            found.append(figure(prefix + figure_name, runs, unit, better))
    return found


if __name__ == "__main__":
    sys.exit(main())
