"""Pieces of the comparison: what one peer gave for one workload in one round, each in a file of its own.

So a comparison may be made in parts and taken up again, and a failure loses nothing but itself. A piece is
`{"peer", "version", "workload", "round", "time", "load", "others_cpu_percent", "values": {figure: [number…]}}`:
`load` is the machine's before the peer was started, `others_cpu_percent` what everything else used meanwhile, in % of
a core.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bench.figures import Figure, figure

DISTURBED_PERCENT = 50.0


@dataclass(frozen=True)
class Metric:
    """A figure of the comparison: its title in tables, unit and which way is better."""

    title: str
    unit: str
    better: Literal["lower", "higher"]


METRICS = {
    "w1_ms_per_task": Metric("W1: 40 in sequence, ms a task", "ms", "lower"),
    "w1_whole_s": Metric("W1 from trigger to last task, s", "s", "lower"),
    "w2_tasks_per_s": Metric("W2: 1 → 200 → 1, tasks/s", "tasks/s", "higher"),
    "w3_tasks_per_s": Metric("W3: 200 DAGs × 10 at once, tasks/s", "tasks/s", "higher"),
    "w3_first_task_p95_s": Metric("W3: first task late by p95, s", "s", "lower"),
    "web_dags_p50_ms": Metric("list of DAGs by web API, 50 clients, p50, ms", "ms", "lower"),
    "web_dags_p95_ms": Metric("… p95, ms", "ms", "lower"),
    "w2_cpu_ms_per_task": Metric("CPU, ms a task (W2)", "ms", "lower"),
    "rest_cpu_percent": Metric("CPU at rest, % of a core", "% of a core", "lower"),
    "rest_mib": Metric("memory at rest, MiB", "MiB", "lower"),
    "w2_peak_mib": Metric("memory in W2, MiB", "MiB", "lower"),
}


@dataclass(frozen=True)
class Piece:
    """See the module. `time`: when it ended, ISO 8601 with zone."""

    peer: str
    version: str
    workload: str
    round: int
    time: str
    load: float
    others_cpu_percent: float
    values: dict[str, list[float]]


class Pieces:
    """The pieces kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, peer: str, workload: str, number: int) -> Path:
        return self._folder / f"{peer}-{workload}-{number}.json"

    def has(self, peer: str, workload: str, number: int) -> bool:
        return self._path(peer, workload, number).exists()

    def keep(self, piece: Piece) -> None:
        """Writes a piece, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(piece.peer, piece.workload, piece.round)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(piece), indent=1) + "\n")
        new.replace(path)

    def forget(self, peer: str, workload: str, number: int) -> None:
        self._path(peer, workload, number).unlink(missing_ok=True)

    def all(self) -> list[Piece]:
        """All pieces, oldest first."""
        found = [Piece(**json.loads(path.read_text())) for path in self._folder.glob("*.json")]
        return sorted(found, key=lambda piece: piece.time)


def undisturbed(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces during which others used at most DISTURBED_PERCENT of a core, and those with no such counterpart."""
    quiet = {(piece.peer, piece.workload) for piece in pieces if piece.others_cpu_percent <= DISTURBED_PERCENT}
    return [
        piece
        for piece in pieces
        if piece.others_cpu_percent <= DISTURBED_PERCENT or (piece.peer, piece.workload) not in quiet
    ]


def values_by_peer(pieces: Iterable[Piece]) -> dict[str, dict[str, list[float]]]:
    """Peer → figure → all its measurements."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for piece in pieces:
        for name, values in piece.values.items():
            found[piece.peer][name] += values
    return found


def figures(pieces: Iterable[Piece]) -> list[Figure]:
    """Spinner's figures have their usual names, a peer's its own in front."""
    found = []
    for peer, values in values_by_peer(pieces).items():
        prefix = "" if peer == "spinner" else peer.replace("-", "_") + "_"
        found += [
            figure(prefix + name, numbers, METRICS[name].unit, METRICS[name].better) for name, numbers in values.items()
        ]
    return found


def median(numbers: list[float]) -> float:
    return statistics.median(numbers)
