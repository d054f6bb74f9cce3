"""`evolve(state, event)`: the only code that changes a partition's state, live and in replay alike.

An event of a run that has ended brings the run back among the live ones first; a run that has ended and has nothing
unfinished is put away. An event of an unknown kind is fatal: this scheduler is older than its log.

What an event changes is a function of the event's name in `evolve_tasks`, `evolve_runs`, `evolve_dags`, `evolve_assets`
or `evolve_pools`; here is which one.
"""

from __future__ import annotations

from spinner_proto.events.v1 import events_pb2 as ev

from spinner_scheduler.domain import times
from spinner_scheduler.domain.evolve_assets import asset_event, asset_received, assets_consumed
from spinner_scheduler.domain.evolve_dags import (
    backfill_advanced,
    backfill_created,
    backfill_state_changed,
    command_answered,
    command_held,
    command_released,
    dag_removed,
    dag_updated,
    run_measured,
    timetable_evaluated,
)
from spinner_scheduler.domain.evolve_pools import pool_event
from spinner_scheduler.domain.evolve_runs import (
    deadline_changed,
    run_backfill_changed,
    run_conf_changed,
    run_created,
    run_state_changed,
    run_version_changed,
    run_version_planned,
)
from spinner_scheduler.domain.evolve_tasks import (
    task_cleared,
    task_ended,
    task_expanded,
    task_skip_decided,
    task_state_changed,
)
from spinner_scheduler.domain.finished_runs import find_run, put_away
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import RUN_FAILED, RUN_SUCCESS


def evolve_record(state: PartitionState, record: ev.WorkflowEvents) -> None:
    """Applies all events of one record in order."""
    state.at(times.from_timestamp(record.time))
    for event in record.events:
        evolve(state, record.dag_id, record.run_id, event)


def evolve(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    """Applies one event. Raises MissingDefinitionError, or ValueError for an unknown kind."""
    kind = event.WhichOneof("kind")
    if kind == "task_state_changed":
        dag, run = find_run(state, dag_id, run_id)
        task_state_changed(state, dag, run, event.task_state_changed)
    elif kind == "task_ended":
        dag, run = find_run(state, dag_id, run_id)
        task_ended(state, dag, run, event.task_ended)
    elif kind == "pool_event":
        pool_event(state, dag_id, run_id, event.pool_event)
        return
    else:
        handler = _RARE.get(kind or "")
        if handler is None:
            raise ValueError(f"event of an unknown kind in {dag_id}/{run_id}: upgrade the scheduler to replay it")
        handler(state, dag_id, run_id, event)
        return
    if not run.unfinished and run.state in (RUN_SUCCESS, RUN_FAILED):
        put_away(state, dag, run)


def _nothing(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    """What is only told to others."""


_RARE = {
    "dag_updated": dag_updated,
    "dag_removed": dag_removed,
    "timetable_evaluated": timetable_evaluated,
    "command_held": command_held,
    "command_released": command_released,
    "asset_event": asset_event,
    "deadline_changed": deadline_changed,
    "run_measured": run_measured,
    "asset_received": asset_received,
    "assets_consumed": assets_consumed,
    "command_accepted": command_answered,
    "command_rejected": command_answered,
    "run_created": run_created,
    "run_state_changed": run_state_changed,
    "run_version_changed": run_version_changed,
    "run_conf_changed": run_conf_changed,
    "run_version_planned": run_version_planned,
    "run_backfill_changed": run_backfill_changed,
    "backfill_created": backfill_created,
    "backfill_advanced": backfill_advanced,
    "backfill_state_changed": backfill_state_changed,
    "task_expanded": task_expanded,
    "task_cleared": task_cleared,
    "task_skip_decided": task_skip_decided,
    "callback_changed": _nothing,
}
