"""Custom timetables are told in parts (B1): nothing left out, nothing twice, whatever becomes of dag-sync."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from spinner import DAG
from spinner.serialization import ask, evaluate
from spinner.timetables import DagRunInfo, DataInterval, Timetable
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, TimetableRequest
from spinner_proto.explain.v1.explain_pb2 import Subject
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TimetableEvaluated
from spinner_proto.scheduler.v1.scheduler_pb2 import SimulateRequest
from spinner_scheduler.domain import times
from spinner_scheduler.domain.explain import explain
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.reasons import Code
from spinner_scheduler.forecast.forecast import Forecast

HOUR = timedelta(hours=1)


class Steps(Timetable):
    """A run for each step after the one before; the first begins at the start date, without catch-up now."""

    def __init__(self, step: timedelta = HOUR, most: int = 0, now: datetime | None = None) -> None:
        self.step, self.most, self.now, self.asked = step, most, now, 0

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):  # type: ignore[no-untyped-def]
        self.asked += 1
        last = last_automated_data_interval
        start = last.end if last is not None else restriction.earliest
        if self.most and start >= restriction.earliest + self.most * self.step:
            return None
        return DagRunInfo.interval(start, start + self.step)


class Answerer:
    """dag-sync as the scheduler sees it: keeps the latest request of the topic and answers it."""

    def __init__(self, lab, timetable: Timetable, past: int, catchup: bool = True, version: str = "v1", **dag):  # type: ignore[no-untyped-def]
        self.lab, self.version = lab, version
        self.request: TimetableRequest | None = None
        now = times.to_datetime(lab.now)
        first = now - past * HOUR
        roles = {"team": {"can_dag_read"}}
        self.dag = DAG(
            "dag", schedule=timetable, start_date=first, catchup=catchup, tier=1, access_control=roles, **dag
        )
        self._read = 0

    def definition(self, **fields: object) -> DagDefinition:
        made: DagDefinition = self.lab.dag(version=self.version, catchup=self.dag.catchup, **fields)
        made.tasks.add(task_id="a", inline_success=True)
        made.schedule.CopyFrom(self.dag.timetable.to_schedule())
        made.start_date.FromDatetime(self.dag.start_date)
        if self.dag.end_date is not None:
            made.end_date.FromDatetime(self.dag.end_date)
        made.bundle.name, made.relative_path = "main", "a.py"
        return made

    def read(self) -> bool:
        """Reads the topic; returns whether there is a new request."""
        new = [result.timetables["dag"] for result in self.lab.results[self._read :] if "dag" in result.timetables]
        self._read = len(self.lab.results)
        if new:
            self.request = new[-1]
        return bool(new)

    def answer(self) -> InboxMessage:
        message = TimetableEvaluated(dag_id="dag", version=self.version)
        after = None
        if self.request is not None:
            message.answers.extend(ask(self.dag, question) for question in self.request.questions)
        if self.request is not None and self.request.HasField("after_end"):
            message.after_start.CopyFrom(self.request.after_start)
            message.after_end.CopyFrom(self.request.after_end)
            after = DataInterval(message.after_start.ToDatetime(UTC), message.after_end.ToDatetime(UTC))
        found, message.complete = evaluate(self.dag, times.to_datetime(self.lab.now), after)
        message.intervals.extend(found)
        return InboxMessage(timetable_evaluated=message)

    def serve(self) -> int:
        """Answers until nothing more is asked."""
        count = 0
        while self.read():
            self.lab.take(self.answer())
            self.lab.at((self.lab.now - self.lab.epoch) / times.SECOND)
            count += 1
        return count


def hours_of(lab) -> list[float]:  # type: ignore[no-untyped-def]
    made = [event.run_created for _, _, event in lab.events if event.HasField("run_created")]
    return [(times.from_timestamp(run.logical_date) - lab.epoch) / times.SECOND / 3600 for run in made]


def begin(lab, answerer: Answerer, **fields: object) -> None:  # type: ignore[no-untyped-def]
    lab.publish(answerer.definition(**fields))
    answerer.read()
    lab.take(answerer.answer())
    lab.at((lab.now - lab.epoch) / times.SECOND)


@pytest.mark.parametrize("past", [10, 1_999, 2_000, 2_001, 12_345])
def test_catch_up_goes_back_as_far_as_the_start_date(lab, past: int) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, Steps(), past)
    begin(lab, answerer, max_active_runs=3)
    parts = answerer.serve()
    assert hours_of(lab) == [float(n) for n in range(-past, 0)]
    assert past // 2_000 <= parts <= past // 1_000 + 1
    # What is known stays small, and the timetable was asked about once for each run.
    assert len(lab.state.dags["dag"].evaluated.intervals) <= 2_000
    assert answerer.dag.timetable.asked <= 1.5 * past + 2_200


def test_without_catch_up_only_the_latest_run_is_made(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, Steps(), 5_000, catchup=False)
    begin(lab, answerer)
    answerer.serve()
    assert hours_of(lab) == [-1.0]
    lab.at(2 * 3600)
    assert hours_of(lab) == [-1.0, 0.0, 1.0]


def test_nothing_lies_outside_of_start_and_end_date(lab) -> None:  # type: ignore[no-untyped-def]
    class Unbounded(Steps):
        def next_dagrun_info(self, *, last_automated_data_interval, restriction):  # type: ignore[no-untyped-def]
            earlier = restriction._replace(earliest=restriction.earliest - 5_000 * HOUR)
            return super().next_dagrun_info(
                last_automated_data_interval=last_automated_data_interval, restriction=earlier
            )

    now = times.to_datetime(lab.now)
    answerer = Answerer(lab, Unbounded(), 3_000, end_date=now - 100 * HOUR)
    begin(lab, answerer)
    answerer.serve()
    assert hours_of(lab) == [float(n) for n in range(-3_000, -99)]
    lab.at(3600)
    assert Code.TIMETABLE_EXHAUSTED in {r.code for r in explain(lab.state, Subject(dag_id="dag"), lab.now).reasons}


def test_a_timetable_that_ends_is_not_asked_again(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, Steps(most=2_500), 5_000)
    begin(lab, answerer)
    assert answerer.serve() == 1
    assert len(hours_of(lab)) == 2_500
    lab.at(3600 * 24)
    assert not answerer.read()


def test_a_changed_timetable_goes_on_after_the_latest_run(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, Steps(), 3_000)
    begin(lab, answerer)
    before = len(hours_of(lab))
    assert before == 2_000
    changed = Answerer(lab, Steps(2 * HOUR), 3_000, version="v2")
    lab.publish(changed.definition())
    # dag-sync may tell what it knew before it is asked: its parts begin elsewhere and don't count.
    lab.take(changed.answer())
    assert len(hours_of(lab)) == before
    changed.serve()
    assert hours_of(lab)[before:] == [float(n) for n in range(-1_000, 0, 2)]


def test_a_change_to_and_from_a_custom_timetable(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag(version="v0", catchup=True)
    made.tasks.add(task_id="a", inline_success=True)
    made.schedule.delta.period.FromSeconds(86_400)
    made.start_date.CopyFrom(times.to_timestamp(lab.epoch - 5 * 86_400 * times.SECOND))
    lab.publish(made)
    lab.at(0)
    days = hours_of(lab)
    assert len(days) == 5
    answerer = Answerer(lab, Steps(), 5 * 24)
    lab.publish(answerer.definition())
    answerer.serve()
    lab.at(2 * 3600)
    assert hours_of(lab) == [*days, 0.0, 1.0]
    made.version = "v3"
    lab.publish(made)
    assert lab.results[-1].timetables == {"dag": None}


def test_a_pause_holds_it_and_goes_on_where_it_was(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, Steps(), 6_000)
    lab.publish(answerer.definition())
    lab.command(set_paused={"paused": True})
    begin(lab, answerer)
    answerer.serve()
    assert hours_of(lab) == []
    lab.command(set_paused={"paused": False})
    lab.at(1)
    answerer.serve()
    assert hours_of(lab) == [float(n) for n in range(-6_000, 0)]


def test_a_dag_that_comes_back_asks_anew(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, Steps(), 3_000)
    begin(lab, answerer)
    lab.take(InboxMessage(definition_removed={"dag_id": "dag"}))
    answerer.read()
    assert answerer.request is None
    lab.publish(answerer.definition())
    answerer.serve()
    assert hours_of(lab) == [float(n) for n in range(-3_000, 0)]


def test_explain_says_that_the_next_part_is_missing(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, Steps(), 3_000)
    begin(lab, answerer)
    answerer.read()
    asked = lab.now
    lab.at(60)
    (found,) = explain(lab.state, Subject(dag_id="dag"), lab.now).reasons
    assert found.code == Code.TIMETABLE_PART_PENDING
    assert times.from_timestamp(found.since) == asked and "dag-sync" in found.fix
    assert times.text(lab.epoch - 1_001 * 3600 * times.SECOND) in found.message
    lab.take(answerer.answer())
    lab.at(61)
    found = explain(lab.state, Subject(dag_id="dag"), lab.now).reasons
    assert Code.TIMETABLE_PART_PENDING not in {one.code for one in found}


@pytest.mark.parametrize("seed", range(5))
def test_lost_late_and_doubled_answers_change_nothing(lab, seed: int) -> None:  # type: ignore[no-untyped-def]
    """dag-sync dies between reading and answering, answers twice, or answers what was asked long ago."""
    chance = random.Random(seed)
    answerer = Answerer(lab, Steps(), 5_000)
    lab.publish(answerer.definition(max_active_runs=2))
    late: list[InboxMessage] = [answerer.answer()]
    for turn in range(60):
        if answerer.read() or chance.random() < 0.1:
            late.append(answerer.answer())
        chance.shuffle(late)
        while late and chance.random() < 0.6:
            lab.take(late[-1] if chance.random() < 0.3 else late.pop())
        lab.at(turn)
    lab.take(answerer.answer())
    answerer.serve()
    assert hours_of(lab) == [float(n) for n in range(-5_000, 0)]


# -- commands that only the timetable can complete -----------------------------------------------------------------


class ByDay(Steps):
    """What a run by hand covers is the day before."""

    def infer_manual_data_interval(self, *, run_after):  # type: ignore[no-untyped-def]
        if run_after.year < 2000:
            raise ValueError("no calendar")
        end = run_after.replace(hour=0, minute=0, second=0, microsecond=0)
        return DataInterval(end - timedelta(days=1), end)


def interval_of(lab, run_id: str) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
    (made,) = [e.run_created for _, r, e in lab.events if r == run_id and e.HasField("run_created")]
    return tuple(f"{when.ToDatetime():%d %H}" for when in (made.data_interval_start, made.data_interval_end))


def test_the_timetable_says_what_a_run_by_hand_covers(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, ByDay(), 3, catchup=False)
    begin(lab, answerer)
    for _ in range(2):
        # Asked twice, it is held once.
        assert lab.command(request_id="one", trigger_run={"run_id": "by_hand"}) is None
    answerer.read()
    assert answerer.request is not None and len(answerer.request.questions) == 1
    reasons = explain(lab.state, Subject(dag_id="dag"), lab.now).reasons
    assert Code.TIMETABLE_ANSWER_PENDING in {reason.code for reason in reasons}
    answer = answerer.answer()
    lab.take(answer)
    assert lab.last("command_accepted").run_id == "by_hand"
    assert interval_of(lab, "by_hand") == ("08 00", "09 00")
    answerer.read()
    assert answerer.request is None or not answerer.request.questions
    # The answer comes again: nothing happens twice.
    lab.take(answer)
    assert lab.runs().count("by_hand") == 1


def test_an_interval_that_is_given_is_not_asked_for(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, Answerer(lab, ByDay(), 3))
    given = {"data_interval_start": times.to_timestamp(lab.epoch), "data_interval_end": times.to_timestamp(lab.epoch)}
    lab.command(trigger_run={"run_id": "by_hand", **given})
    assert interval_of(lab, "by_hand") == ("09 09", "09 09")


def test_a_timetable_that_infers_nothing_gives_its_latest_interval(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, Answerer(lab, Steps(), 3))
    lab.trigger("by_hand")
    assert interval_of(lab, "by_hand") == ("09 08", "09 09")


def test_a_run_by_hand_is_refused_when_the_timetable_raises(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, ByDay(), 3)
    begin(lab, answerer)
    past = times.to_timestamp(86_400 * times.SECOND)
    assert lab.command(trigger_run={"run_id": "by_hand", "logical_date": past}) is None
    answerer.serve()
    refused = lab.last("command_rejected")
    assert refused.code == "TIMETABLE_FAILED" and "ByDay raised ValueError: no calendar" in refused.message
    assert "by_hand" not in lab.runs()


def test_what_is_held_survives_the_scheduler(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, ByDay(), 3)
    begin(lab, answerer)
    lab.command(request_id="one", trigger_run={"run_id": "by_hand"})
    answerer.read()
    other = lab.taken_over()
    assert list(other.state.dags["dag"].held) == ["one"]
    other.take(answerer.answer())
    assert interval_of(other, "by_hand") == ("08 00", "09 00")


def test_what_is_held_is_refused_when_the_dag_goes(lab) -> None:  # type: ignore[no-untyped-def]
    answerer = Answerer(lab, ByDay(), 3)
    begin(lab, answerer)
    lab.command(trigger_run={"run_id": "by_hand"})
    lab.take(InboxMessage(definition_removed={"dag_id": "dag"}))
    assert lab.last("command_rejected").code == "DAG_REMOVED"
    assert lab.results[-1].timetables == {"dag": None}


def test_a_backfill_asks_the_timetable_for_its_intervals(lab) -> None:  # type: ignore[no-untyped-def]
    """B5: also of a time that no part covers, before the start date, and without catch-up."""
    answerer = Answerer(lab, Steps(), 10, catchup=False)
    begin(lab, answerer, max_active_runs=5)
    wish = {
        "backfill_id": "b",
        "from_date": times.to_timestamp(lab.epoch - 5_000 * 3600 * times.SECOND),
        "to_date": times.to_timestamp(lab.epoch - 4_990 * 3600 * times.SECOND),
    }
    assert lab.command(create_backfill={**wish, "dry_run": True}) is None
    answerer.serve()
    assert lab.last("command_accepted").backfill_plan.create_count == 11
    lab.command(create_backfill=wish)
    answerer.serve()
    assert sorted(hours_of(lab))[:11] == [float(n) for n in range(-5_000, -4_989)]
    wish = {**wish, "backfill_id": "c", "from_date": times.to_timestamp(lab.epoch - 9_000 * 3600 * times.SECOND)}
    lab.command(create_backfill={**wish, "to_date": times.to_timestamp(lab.epoch)})
    answerer.serve()
    assert "more than 5,000 runs" in lab.last("command_rejected").message


def test_simulate_goes_by_what_is_known_of_the_timetable(lab) -> None:  # type: ignore[no-untyped-def]
    """B9."""
    answerer = Answerer(lab, Steps(timedelta(hours=6), most=32), 24)
    made = answerer.definition()
    told = answerer.answer().timetable_evaluated
    made.schedule.explicit.intervals.extend(told.intervals)
    made.schedule.explicit.complete = told.complete
    found = Forecast(SimulateRequest(definitions=[made], start=times.to_timestamp(lab.now)), Limits()).run()
    assert found.run_count == 28 and not found.stopped
    made.schedule.explicit.complete = False
    found = Forecast(SimulateRequest(definitions=[made], start=times.to_timestamp(lab.now)), Limits()).run()
    assert "the custom timetable of dag is known until" in found.stopped
