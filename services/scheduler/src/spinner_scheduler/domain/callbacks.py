"""C8: callbacks of ends are orders of their own, so that user code that fails, hangs or crashes harms nobody.

A callback that fails or whose worker is lost is ordered again, MAX_ATTEMPTS times in all, as the next segment of the
same try: its log goes on. The run may be gone by then, so the executor sends the order back with the end.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.events.v1.events_pb2 import CallbackChanged, TaskEnded
from spinner_proto.inbox.v1.inbox_pb2 import TaskReport
from spinner_proto.orders.v1.orders_pb2 import DesiredState, TaskOrder

from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.orders import task_callback_order
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.states import FAILED, QUEUED, RUNNING, SKIPPED, SUCCESS, UP_FOR_RETRY

MAX_ATTEMPTS = 3
_NAMES = {SUCCESS: "success", FAILED: "failure", UP_FOR_RETRY: "retry", SKIPPED: "skipped"}


def order(d: Decision, wanted: TaskOrder) -> None:
    """Orders callbacks."""
    d.order(wanted)
    changed = CallbackChanged(callback=wanted.callback, state=QUEUED)  # type: ignore[arg-type]
    d.emit_callback(wanted.try_key, changed)


def of_try(d: Decision, dag: DagState, run: Run, slot: int, ended: TaskEnded) -> None:
    """Orders the callbacks of a try's end, if the task has any for it."""
    definition = run.layout.tasks[run.position(slot)]
    name = _NAMES.get(ended.state)
    # Definitions without the list are older than it.
    called = name in definition.callbacks if definition.callbacks else definition.has_callbacks
    if name is None or not called or run.facts.backfill.skip_callbacks:
        return
    order(d, task_callback_order(d.state, dag, run, slot, name, ended))


def handle(d: Decision, report: TaskReport) -> None:
    """Takes what an executor says of callbacks."""
    kind = report.WhichOneof("kind")
    ordered = _ordered(report)
    changed = CallbackChanged(callback=ordered.callback, executor=report.executor, worker=report.worker)
    if kind == "started":
        changed.state = RUNNING  # type: ignore[assignment]
        changed.start_time.CopyFrom(report.time)
        d.emit_callback(report.try_key, changed)
        return
    if kind != "ended":
        return
    said = report.ended
    good = said.outcome in (Outcome.OUTCOME_SUCCESS, Outcome.OUTCOME_SKIPPED)
    again = not good and bool(ordered.callback) and ordered.segment + 1 < MAX_ATTEMPTS
    changed.state = SUCCESS if good else UP_FOR_RETRY if again else FAILED  # type: ignore[assignment]
    changed.outcome, changed.message = said.outcome, said.message
    changed.log_key, changed.log_bytes = said.log_key, said.log_bytes
    changed.stages.extend(said.stages)
    changed.usage.CopyFrom(said.usage)
    changed.start_time.CopyFrom(said.start_time)
    changed.end_time.CopyFrom(said.end_time)
    if again:
        ordered.segment += 1
        ordered.desired_state = DesiredState.DESIRED_STATE_RUNNING
        ordered.ordered_time.CopyFrom(d.time)
        d.order(ordered)
    else:
        d.tombstone(report.try_key)
    d.emit_callback(report.try_key, changed)


def _ordered(report: TaskReport) -> TaskOrder:
    """The order that a report is about; an empty one when the executor's version doesn't say, or says it wrong."""
    try:
        return TaskOrder.FromString(report.order)
    except DecodeError:
        return TaskOrder()
