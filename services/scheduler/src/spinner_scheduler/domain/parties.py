"""Who holds something, in the words of an explanation: runs, task instances, pools, people, partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.explain.v1.explain_pb2 import Party

from spinner_scheduler.domain import times
from spinner_scheduler.domain.pools import Address, Pool
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import (
    DEFERRED,
    QUEUED,
    RESTARTING,
    RUN_STATE_NAMES,
    RUNNING,
    TASK_STATE_NAMES,
)

MOST = 20
"""Parties named in one list; the rest is counted."""

_HOLDING = (RUNNING, QUEUED, RESTARTING)


def of_run(run: Run) -> Party:
    party = Party(kind="run", name=run.run_id, dag_id=run.dag_id, run_id=run.run_id, map_index=-1)
    party.state = RUN_STATE_NAMES.get(run.state, "")
    set_time(party.since, run.state_time or run.start or run.priority_date)
    return party


def of_task(run: Run, slot: int) -> Party:
    task_id, index = run.layout.task_ids[run.position(slot)], run.map_index(slot)
    name = task_id if index < 0 else f"{task_id} [{index}]"
    party = Party(kind="task", name=name, dag_id=run.dag_id, run_id=run.run_id, task_id=task_id, map_index=index)
    party.try_number = run.tries[slot]
    party.state = TASK_STATE_NAMES.get(run.states[slot], "")
    set_time(party.since, since(run, slot))
    return party


def of_try(key: TryKey) -> Party:
    """A task instance of another partition."""
    name = key.task_id if key.map_index < 0 else f"{key.task_id} [{key.map_index}]"
    return Party(
        kind="task",
        name=name,
        dag_id=key.dag_id,
        run_id=key.run_id,
        task_id=key.task_id,
        map_index=key.map_index,
        try_number=key.try_number,
    )


def named(kind: str, name: str) -> Party:
    """Something without a place of its own."""
    return Party(kind=kind, name=name, map_index=-1)


def of_partition(address: Address) -> Party:
    cell = address.inbox.partition("-")[2]
    return named("partition", f"{cell}_{address.partition}")


def since(run: Run, slot: int) -> int:
    """Since when an instance is in its state, µs: to the second; a run's tasks wait at the earliest since its start."""
    return max(run.since[slot] * times.SECOND, run.start or run.state_time)


def set_time(field: object, time: int) -> None:
    """Fills a Timestamp, and leaves it unset for 0."""
    if time:
        field.CopyFrom(times.to_timestamp(time))  # type: ignore[attr-defined]


def holding(run: Run, extra: tuple[int, ...] = ()) -> Iterator[int]:
    """The instances of a run that hold slots: those with a worker, or about to have one."""
    for state in (*_HOLDING, *extra):
        slot = run.states.find(state)
        while slot >= 0:
            yield slot
            slot = run.states.find(state, slot + 1)


def holders_of_pool(state: PartitionState, pool: Pool, most: int = MOST) -> tuple[list[Party], int]:
    """Who holds slots of a pool that this partition owns, and how many slots are held in all."""
    extra = (DEFERRED,) if pool.include_deferred else ()
    here = (
        of_task(run, slot)
        for dag in state.dags.values()
        for run in dag.runs.values()
        if run.holding or extra
        for slot in holding(run, extra)
        if run.pools[run.position(slot)] == pool.name
    )
    elsewhere = (of_try(request.message.try_key) for request in pool.requests.values() if request.granted)
    found: list[Party] = []
    if pool.used:
        found.extend(islice(here, most))
    if pool.granted:
        found.extend(islice(elsewhere, most - len(found)))
    return found, pool.used + pool.granted


def first(parties: Iterable[Party]) -> list[Party]:
    return list(islice(parties, MOST))
