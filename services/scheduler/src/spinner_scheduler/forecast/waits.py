"""Which limits made somebody wait, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from spinner_proto.scheduler.v1.scheduler_pb2 import SimulatedLimit

from spinner_scheduler.domain import times
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState

# Kind and owner of a limit.
Limit = tuple[str, str]


@dataclass(slots=True)
class _Waits:
    limit: int
    first: int
    count: int = 0
    total: int = 0
    longest: int = 0


class Waits:
    """Waits begin and end by key; one of no time is none. Each counts for the limit that it met first. Times in µs."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, ...], tuple[Limit, int, int]] = {}
        self._limits: dict[Limit, _Waits] = {}

    def begin(self, key: tuple[str, ...], limit: Limit, size: int, now: int) -> None:
        self._open.setdefault(key, (limit, size, now))

    def end(self, key: tuple[str, ...], now: int) -> None:
        found = self._open.pop(key, None)
        if found is not None and now > found[2]:
            self.add(*found, now)

    def add(self, limit: Limit, size: int, since: int, now: int) -> None:
        """Counts a wait that is over."""
        waits = self._limits.setdefault(limit, _Waits(size, since))
        waits.count += 1
        waits.first = min(waits.first, since)
        waits.total += now - since
        waits.longest = max(waits.longest, now - since)

    def close(self, now: int) -> None:
        """Ends all that still wait."""
        for key in list(self._open):
            self.end(key, now)

    def rows(self, most: int) -> list[SimulatedLimit]:
        """The limits, the longest waits first."""
        found = sorted(self._limits.items(), key=lambda item: (-item[1].total, item[0]))[:most]
        return [
            SimulatedLimit(
                kind=kind,
                name=name,
                limit=waits.limit,
                waits=waits.count,
                wait_seconds=waits.total / times.SECOND,
                longest_wait_seconds=waits.longest / times.SECOND,
                first_time=times.to_timestamp(waits.first),
            )
            for (kind, name), waits in found
        ]


def limit_of_task(state: PartitionState, dag: DagState, run: Run, slot: int) -> tuple[Limit, int]:
    """Which limit a task instance waits for that is ready to run."""
    position = run.position(slot)
    task_id = run.layout.task_ids[position]
    most = state.max_active_tasks(run.layout)
    if run.holding >= most:
        return ("max_active_tasks", run.dag_id), most
    per_dag, per_run = run.layout.limits.get(position, (0, 0))
    if per_dag and dag.held_by_task.get(task_id, 0) >= per_dag:
        return ("max_active_tis", f"{run.dag_id}/{task_id}"), per_dag
    if per_run and run.task_holding.get(position, 0) >= per_run:
        return ("max_active_tis", f"{run.dag_id}/{task_id}"), per_run
    pool = run.pools[position]
    return ("pool", pool), state.pool(pool).slots
