"""Asking dag-sync for more of a custom timetable, which is a program that only dag-sync may run.

dag-sync tells a bounded part of it: the runs after an interval. When that part runs low, and when a new version of the
DAG has to go on where the last one stopped, the DAG's facts get a request with the latest interval that has a run; it
leaves in the same transaction. Only the answer to the latest request counts, so the answers of a restarted or slow
dag-sync are harmless, and each run follows the one before as the author's program says.

Commands that only the program can complete are held until it has: a run by hand whose interval it infers, a backfill
whose intervals it knows.
"""

from __future__ import annotations

from spinner_proto.definitions.v1.definitions_pb2 import (
    DagDefinition,
    TimetableAnswer,
    TimetableQuestion,
    TimetableRequest,
)
from spinner_proto.events.v1.events_pb2 import DagUpdated
from spinner_proto.inbox.v1.inbox_pb2 import Command, TimetableEvaluated

from spinner_scheduler.domain import schedules, times
from spinner_scheduler.domain.dag_state import DagState

# More is asked for when at most so many runs are known, the last of them due within this time.
_LOW_RUNS = 500
_LOW_TIME = 86_400 * times.SECOND


def follow(dag: DagState, definition: DagDefinition, updated: DagUpdated, now: int, new_version: bool) -> bool:
    """Brings the request in `updated` up to date; returns whether it changed."""
    before = updated.timetable_request if updated.HasField("timetable_request") else None
    if not schedules.is_evaluated(definition):
        updated.ClearField("timetable_request")
        return before is not None
    if not updated.HasField("last_scheduled_interval_end"):
        return False
    known = dag.evaluated if dag.evaluated is not None and dag.evaluated.version == updated.version else None
    if not new_version:
        if known is None or known.complete or not _low(dag, definition, updated, now):
            return False
        if before is not None and _begins(known) != _begins(before):
            return False  # it has not been answered yet
    asked = TimetableRequest(
        dag_id=dag.dag_id,
        version=updated.version,
        after_start=updated.last_scheduled_logical_date,
        after_end=updated.last_scheduled_interval_end,
        time=times.to_timestamp(now),
        bundle=definition.bundle.name,
        relative_path=definition.relative_path,
    )
    updated.timetable_request.CopyFrom(asked)
    return True


def counts(updated: DagUpdated, evaluated: TimetableEvaluated) -> bool:
    """Whether a part of the timetable is the answer to the DAG's latest request, or its first when there is none."""
    if evaluated.version != updated.version:
        return False
    if updated.HasField("timetable_request"):
        return _begins(evaluated) == _begins(updated.timetable_request)
    return not evaluated.HasField("after_end")


def pending(dag: DagState) -> int:
    """Since when the DAG waits for the next part of its timetable; 0: it doesn't."""
    said, known = dag.updated, dag.evaluated
    if not said.HasField("timetable_request") or (known is not None and counts(said, known)):
        return 0
    return times.from_timestamp(said.timetable_request.time)


# -- commands ----------------------------------------------------------------------------------------------------


def question_of(definition: DagDefinition, command: Command) -> TimetableQuestion | None:
    """What a command needs to know of the DAG's custom timetable, None when nothing."""
    if not command.request_id or not schedules.is_evaluated(definition):
        return None
    if command.HasField("trigger_run"):
        wish = command.trigger_run
        if wish.HasField("data_interval_start") or not schedules.explicit_of(definition).infers_manual:
            return None
        at = wish.logical_date if wish.HasField("logical_date") else command.time
        return TimetableQuestion(request_id=command.request_id, run_after=at)
    if command.HasField("create_backfill"):
        wish_backfill = command.create_backfill
        first, last = wish_backfill.from_date, wish_backfill.to_date
        if not first.ToMicroseconds() or first.ToMicroseconds() > last.ToMicroseconds():
            return None  # refused as it is
        return TimetableQuestion(request_id=command.request_id, from_date=first, to_date=last)
    return None


def completed(command: Command, answer: TimetableAnswer) -> Command:
    """The command with the timetable's answer in it."""
    found = Command()
    found.CopyFrom(command)
    if command.HasField("trigger_run") and answer.intervals:
        found.trigger_run.data_interval_start.CopyFrom(answer.intervals[0].start)
        found.trigger_run.data_interval_end.CopyFrom(answer.intervals[0].end)
    elif command.HasField("create_backfill"):
        found.create_backfill.intervals.extend(answer.intervals)
    return found


def record(dag: DagState, definition: DagDefinition) -> TimetableRequest | None:
    """All that is asked of the DAG's timetable: its record in the topic."""
    said = dag.updated
    if not said.HasField("timetable_request") and not dag.held:
        return None
    found = TimetableRequest()
    if said.HasField("timetable_request"):
        found.CopyFrom(said.timetable_request)
    else:
        found.dag_id, found.version = dag.dag_id, said.version
        found.bundle, found.relative_path = definition.bundle.name, definition.relative_path
    for command in dag.held.values():
        question = question_of(definition, command)
        if question is not None:
            found.questions.append(question)
    return found


# -- parts ---------------------------------------------------------------------------------------------------------


def _low(dag: DagState, definition: DagDefinition, updated: DagUpdated, now: int) -> bool:
    timetable = dag.timetable(definition)
    if not isinstance(timetable, schedules.Explicit):
        return False
    count, last = timetable.left(times.from_timestamp(updated.last_scheduled_logical_date))
    return count <= _LOW_RUNS and last <= now + _LOW_TIME


def _begins(part: TimetableRequest | TimetableEvaluated) -> tuple[int, int]:
    return times.from_timestamp(part.after_start), times.from_timestamp(part.after_end)
