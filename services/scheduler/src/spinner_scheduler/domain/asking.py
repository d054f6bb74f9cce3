"""The protocol between a pool's owner and the partitions that use it (see `pools`)."""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.events.v1.events_pb2 import WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, PoolMessage, PoolSlotReleased

from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.orders import try_key
from spinner_scheduler.domain.pools import request_key
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.states import DEFERRED, HOLDING


def release(d: Decision, run: Run, slot: int, request: int) -> None:
    """Gives a slot back, or withdraws the request for one."""
    name = run.pools[run.position(slot)]
    released = PoolSlotReleased(try_key=try_key(run, slot, run.tries[slot]), request=request)

    def fill(event: WorkflowEvent) -> None:
        event.pool_event.pool = name
        event.pool_event.released.CopyFrom(released)

    d.emit(run.dag_id, run.run_id, fill)
    message = InboxMessage(pool=PoolMessage(pool=name, released=released))
    d.send(d.state.pool_owner(name), name, message)


def handle(d: Decision, message: PoolMessage) -> None:
    """Takes a message of the protocol, as owner or as asker."""
    kind = message.WhichOneof("kind")
    pool = d.state.pool(message.pool)
    if kind == "granted":
        _granted(d, message)
    elif kind == "changed":
        d.emit_pool(message.pool, lambda event: event.changed.CopyFrom(message.changed))
    elif kind == "requested":
        if request_key(message.requested) not in pool.requests:
            d.emit_pool(message.pool, lambda event: event.requested.CopyFrom(message.requested))
    elif kind == "released":
        d.emit_pool(message.pool, lambda event: event.released.CopyFrom(message.released))


def _granted(d: Decision, message: PoolMessage) -> None:
    granted = message.granted
    key: TryKey = granted.try_key
    dag = d.state.dags.get(key.dag_id)
    run = dag.runs.get(key.run_id) if dag is not None else None
    slot = run.slot(key.task_id, key.map_index) if run is not None else -1
    if run is None or slot < 0 or run.requests.get(slot) != granted.request or slot in run.granted:
        # Nobody waits for it any more; its release is on the way already.
        return

    def fill(event: WorkflowEvent) -> None:
        event.pool_event.pool = message.pool
        event.pool_event.granted.CopyFrom(granted)

    d.emit(run.dag_id, run.run_id, fill)
    state = run.states[slot]
    if slot in run.wanted:
        d.state.enqueue(run, slot)
    elif not HOLDING[state] and state != DEFERRED:
        release(d, run, slot, granted.request)
