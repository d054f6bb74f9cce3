"""Events of DAGs: their latest version and schedule, evaluated timetables, commands, backfills, measured runs.

What repeats itself for ever is bounded here: answered commands, ended backfills, measured runs.
"""

from __future__ import annotations

from bisect import bisect_right, insort

from spinner_proto.events.v1 import events_pb2 as ev
from spinner_proto.inbox.v1.inbox_pb2 import Command, TimetableEvaluated

from spinner_scheduler.domain import times
from spinner_scheduler.domain.backfill import Backfill
from spinner_scheduler.domain.dag_state import MEASURED_RUNS
from spinner_scheduler.domain.state import PartitionState


def dag_updated(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    dag.updated = ev.DagUpdated()
    dag.updated.CopyFrom(event.dag_updated)
    dag.removed = False
    del dag.taken[: bisect_right(dag.taken, times.from_timestamp(dag.updated.last_scheduled_logical_date))]
    state.arm_dag(dag)


def dag_removed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    dag.removed = True
    dag.updates.clear()
    dag.partitioned.clear()
    dag.updated.ClearField("next_run_time")
    dag.updated.version_time.CopyFrom(times.to_timestamp(state.event_time))


def timetable_evaluated(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    known = TimetableEvaluated()
    known.CopyFrom(event.timetable_evaluated)
    dag.evaluated = known


def command_answered(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    kind = event.WhichOneof("kind")
    request_id = getattr(event, kind or "").request_id
    if request_id:
        state.request_ids[request_id] = None
        while len(state.request_ids) > state.limits.remembered_requests:
            state.request_ids.popitem(last=False)


def command_held(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    held = Command()
    held.CopyFrom(event.command_held.command)
    state.dag(dag_id).held[held.request_id] = held


def command_released(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    state.dag(dag_id).held.pop(event.command_released.request_id, None)


def run_measured(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    measured = ev.RunMeasured()
    measured.CopyFrom(event.run_measured)
    dag.measured = [*dag.measured[-MEASURED_RUNS + 1 :], measured]


def backfill_created(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    created = ev.BackfillCreated()
    created.CopyFrom(event.backfill_created)
    dag.backfills[created.request.backfill_id] = Backfill(created)
    ended = [backfill_id for backfill_id, backfill in dag.backfills.items() if backfill.ended]
    for backfill_id in ended[: max(0, len(ended) - state.limits.keep_ended_backfills)]:
        del dag.backfills[backfill_id]


def backfill_advanced(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    e = event.backfill_advanced
    dag.backfills[e.backfill_id].advance(e)
    scheduled = times.from_timestamp(dag.updated.last_scheduled_logical_date)
    for interval in e.intervals:
        logical = times.from_timestamp(interval.logical_date)
        if logical > scheduled:
            insort(dag.taken, logical)


def backfill_state_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    e = event.backfill_state_changed
    state.dag(dag_id).backfills[e.backfill_id].change(e.state)
