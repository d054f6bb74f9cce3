"""What an inbox record may wait for."""

from __future__ import annotations

import pytest
from spinner_eventlog.interface import Record
from spinner_proto.common.v1.common_pb2 import Stage, StageResult
from spinner_proto.inbox.v1.inbox_pb2 import Command, InboxMessage, TaskEnded, TaskLaunched, TaskReport, TaskStarted
from spinner_scheduler.adapters.patience import patience


def record(message: InboxMessage) -> Record:
    return Record("inbox", 0, 0, 0, "etl", message.SerializeToString(), {})


def ended(*stages: tuple[Stage.ValueType, float]) -> Record:
    """The end of a try whose stages took so many seconds."""
    end = TaskEnded()
    for stage, seconds in stages:
        result = StageResult(stage=stage)
        result.start_time.FromMilliseconds(1_000_000)
        result.end_time.FromMilliseconds(1_000_000 + round(1000 * seconds))
        end.stages.append(result)
    return record(InboxMessage(task_report=TaskReport(ended=end)))


def test_what_a_person_asks_for_does_not_wait():
    assert patience(record(InboxMessage(command=Command(dag_id="etl")))) == 0


@pytest.mark.parametrize("report", [TaskReport(started=TaskStarted()), TaskReport(launched=TaskLaunched())])
def test_a_note_waits_a_moment(report: TaskReport):
    assert 0 < patience(record(InboxMessage(task_report=report))) <= 0.2


def test_on_an_idle_installation_an_end_is_decided_at_once():
    assert patience(ended((Stage.STAGE_QUEUE, 0.002), (Stage.STAGE_TASK_EXEC, 3600))) == 0
    assert patience(ended()) == 0


def test_where_tries_wait_for_workers_an_end_waits_for_a_small_share_of_that():
    assert patience(ended((Stage.STAGE_QUEUE, 1.0), (Stage.STAGE_TASK_EXEC, 0.01))) == pytest.approx(0.1)


def test_no_end_waits_long():
    assert patience(ended((Stage.STAGE_QUEUE, 86_400.0))) == pytest.approx(0.2)


def test_the_latest_segment_says_how_busy_it_is_now():
    assert patience(ended((Stage.STAGE_QUEUE, 60.0), (Stage.STAGE_QUEUE, 0.001))) == 0


def test_a_slow_launch_is_no_queue():
    """A pod takes seconds to start on an idle cluster, too."""
    assert patience(ended((Stage.STAGE_QUEUE, 0.001), (Stage.STAGE_LAUNCH, 20.0))) == 0


def test_what_cannot_be_read_does_not_wait():
    assert patience(Record("inbox", 0, 0, 0, "etl", b"\xff\xff", {})) == 0
    assert patience(Record("inbox", 0, 0, 0, "etl", None, {})) == 0
