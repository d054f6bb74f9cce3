"""dag-sync as far as schedulers need it for custom timetables: it asks the program, and tells a part of what it says.

It answers each request at least once and some time later, so also requests that were replaced meanwhile. The program
of a DAG is made up from its start date: a run each `PERIOD`, whatever is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinner_proto.definitions.v1.definitions_pb2 import (
    DagDefinition,
    ExplicitSchedule,
    Interval,
    TimetableAnswer,
    TimetableQuestion,
    TimetableRequest,
)
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TimetableEvaluated

from spinner_scheduler.domain import schedules, times

if TYPE_CHECKING:
    from spinner_scheduler.simulation.world import World

PERIOD = 700 * times.SECOND
_LENGTH = 500 * times.SECOND
# The program's last run, and how many it is asked for at once.
LAST = 40
PART = 3
_AGAIN_SECONDS = 900


def interval(definition: DagDefinition, number: int) -> Interval:
    """The program's run of a number, from 0."""
    at = times.from_timestamp(definition.start_date) + number * PERIOD
    found = Interval(logical_date=times.to_timestamp(at), start=times.to_timestamp(at))
    found.end.CopyFrom(times.to_timestamp(at + _LENGTH))
    found.run_after.CopyFrom(times.to_timestamp(at + _LENGTH))
    return found


def part(definition: DagDefinition, after: int) -> tuple[list[Interval], bool]:
    """The runs after the one that ends then (0: from the first), and whether there are no more."""
    begin = 0 if not after else (after - _LENGTH - times.from_timestamp(definition.start_date)) // PERIOD + 1
    numbers = range(begin, min(begin + PART, LAST))
    return [interval(definition, number) for number in numbers], begin + PART >= LAST


def whole(definition: DagDefinition) -> ExplicitSchedule | None:
    """All runs of a DAG's program; None when its schedule is none."""
    if not schedules.is_evaluated(definition):
        return None
    return ExplicitSchedule(evaluated=True, intervals=[interval(definition, number) for number in range(LAST)])


class DagSync:
    """Reads requests by `take`, writes to the world's inboxes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests: dict[str, TimetableRequest] = {}

    def published(self, definition: DagDefinition) -> None:
        """Tells the first part of a new version unasked."""
        if schedules.is_evaluated(definition):
            self._tell(definition, TimetableRequest(dag_id=definition.dag_id, version=definition.version))

    def take(self, dag_id: str, request: TimetableRequest | None) -> None:
        """Sees the next record of the requests' topic."""
        if request is None:
            self._requests.pop(dag_id, None)
            return
        self._requests[dag_id] = request
        self._world.later(0.2 + self._world.rng.expovariate(0.1), lambda: self._answer(request))

    def _answer(self, request: TimetableRequest) -> None:
        definition = self._world.store.get(request.dag_id, request.version)
        assert definition is not None  # noqa: S101 - requests name versions that exist
        self._tell(definition, request)
        # Until the request is another one, or there is none.
        self._world.later(_AGAIN_SECONDS, lambda: self._again(request))

    def _tell(self, definition: DagDefinition, request: TimetableRequest) -> None:
        intervals, complete = part(definition, times.from_timestamp(request.after_end))
        told = TimetableEvaluated(dag_id=request.dag_id, version=request.version, complete=complete)
        told.intervals.extend(intervals)
        if request.HasField("after_end"):
            told.after_start.CopyFrom(request.after_start)
            told.after_end.CopyFrom(request.after_end)
        told.answers.extend(self._answered(definition, question) for question in request.questions)
        self._world.to_dag(request.dag_id, InboxMessage(timetable_evaluated=told))

    def _again(self, request: TimetableRequest) -> None:
        if self._requests.get(request.dag_id) is request and request.questions:
            self._answer(request)

    def _answered(self, definition: DagDefinition, question: TimetableQuestion) -> TimetableAnswer:
        answer = TimetableAnswer(request_id=question.request_id)
        every = [interval(definition, number) for number in range(LAST)]
        if question.HasField("run_after"):
            at = times.from_timestamp(question.run_after)
            answer.intervals.extend([each for each in every if times.from_timestamp(each.run_after) <= at][-1:])
        else:
            first, last = times.from_timestamp(question.from_date), times.from_timestamp(question.to_date)
            answer.intervals.extend(each for each in every if first <= times.from_timestamp(each.logical_date) <= last)
        return answer
