"""Events of pools: an owner's slots and queue, and what a run of another partition knows of its requests.

An event without a run is the owner's, one of a run the asking side's (see `asking`).
"""

from __future__ import annotations

from spinner_proto.events.v1 import events_pb2 as ev
from spinner_proto.inbox.v1.inbox_pb2 import PoolChanged

from spinner_scheduler.domain.finished_runs import find_run
from spinner_scheduler.domain.pools import Pool
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import DEFERRED


def pool_event(state: PartitionState, dag_id: str, run_id: str, e: ev.PoolEvent) -> None:
    kind = e.WhichOneof("kind")
    if run_id:
        _asking(state, dag_id, run_id, e, kind or "")
        return
    pool = state.pool(e.pool)
    if kind == "changed":
        _pool_changed(state, pool, e.changed)
    elif kind == "requested":
        pool.request(e.requested, state.now)
    elif kind == "granted":
        pool.grant((e.granted.try_key.dag_id, e.granted.request))
    elif kind == "released":
        pool.release((e.released.try_key.dag_id, e.released.request))


def _pool_changed(state: PartitionState, pool: Pool, changed: PoolChanged) -> None:
    pool.slots = -1 if changed.deleted else changed.slots
    pool.description = changed.description
    if pool.include_deferred != changed.include_deferred:
        state.rouse()
        pool.include_deferred = changed.include_deferred
        for dag in state.dags.values():
            for run in dag.runs.values():
                for slot, held in enumerate(run.states):
                    position = run.position(slot)
                    if held == DEFERRED and run.pools[position] == pool.name:
                        slots = run.layout.pool_slots[position]
                        pool.used += slots if pool.include_deferred else -slots


def _asking(state: PartitionState, dag_id: str, run_id: str, e: ev.PoolEvent, kind: str) -> None:
    """The asking side: what a run knows of its requests to pools of other partitions."""
    _, run = find_run(state, dag_id, run_id)
    message = getattr(e, kind)
    slot = run.slot(message.try_key.task_id, message.try_key.map_index)
    if kind == "requested":
        run.requests[slot] = message.request
        state.last_request = max(state.last_request, message.request)
    elif kind == "granted":
        run.granted.add(slot)
        state.foreign_deferred[e.pool] = message.include_deferred
    else:
        run.requests.pop(slot, None)
        run.granted.discard(slot)
