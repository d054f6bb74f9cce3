"""When runs are due, with time zones and the hours that DST takes and gives (B1)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_scheduler.domain import schedules, times
from spinner_scheduler.domain.schedules import Cron, Tick


def us(text: str) -> int:
    return times.from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def text(value: int | None) -> str:
    assert value is not None
    return times.to_datetime(value).strftime("%m-%d %H:%M")


def ticks(expression: str, zone: str, start: str, count: int) -> list[str]:
    clock, at, found = Cron([expression], zone), us(start), []
    for _ in range(count):
        following = clock.after(at)
        assert following is not None
        at = following
        found.append(text(at))
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        # Berlin, 30 March 2025: 02:00 becomes 03:00. The run of 02:30 comes as 03:30, once.
        ("30 2 * * *", "Europe/Berlin", "2025-03-28T12:00", ["03-29 01:30", "03-30 01:30", "03-31 00:30"]),
        # Berlin, 26 October 2025: 03:00 becomes 02:00. The run of 02:30 comes once, at the first of the two.
        ("30 2 * * *", "Europe/Berlin", "2025-10-25T12:00", ["10-26 00:30", "10-27 01:30"]),
        # Every half hour is every half hour, whatever the wall clock does.
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2025-10-25T23:45",
            ["10-26 00:00", "10-26 00:30", "10-26 01:00", "10-26 01:30", "10-26 02:00", "10-26 02:30"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2025-03-30T00:15",
            ["03-30 00:30", "03-30 01:00", "03-30 01:30", "03-30 02:00"],
        ),
        # New York, 9 March 2025: 02:00 becomes 03:00; 2 November 2025: 02:00 becomes 01:00.
        ("0 2 * * *", "America/New_York", "2025-03-08T12:00", ["03-09 07:00", "03-10 06:00"]),
        ("30 1 * * *", "America/New_York", "2025-11-01T12:00", ["11-02 05:30", "11-03 06:30"]),
        ("0 * * * *", "America/New_York", "2025-11-02T04:30", ["11-02 05:00", "11-02 06:00", "11-02 07:00"]),
        ("0 0 * * *", "UTC", "2025-03-30T00:00", ["03-31 00:00", "04-01 00:00"]),
        ("0 9 * * mon", "Europe/Berlin", "2025-03-28T12:00", ["03-31 07:00", "04-07 07:00"]),
        # Six fields: seconds last, as in Airflow.
        ("59 5 * * * 30", "UTC", "2025-01-01T05:59", ["01-01 05:59", "01-02 05:59"]),
        ("0 1 * * * */30", "UTC", "2025-01-01T00:00", ["01-01 01:00", "01-01 01:00", "01-02 01:00"]),
    ],
)
def test_cron(expression: str, zone: str, start: str, expected: list[str]) -> None:
    assert ticks(expression, zone, start, len(expected)) == expected


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
CRONS = ["*/7 * * * *", "0 * * * *", "30 2 * * *", "0 0 * * *", "15 1,2,3 * * *", "0 */2 * * *"]


@given(
    zone=st.sampled_from(ZONES),
    expression=st.sampled_from(CRONS),
    at=st.integers(us("2025-01-01T00:00"), us("2025-12-31T00:00")),
)
@settings(max_examples=60, deadline=None)
def test_after_and_before_are_each_others_inverse(zone: str, expression: str, at: int) -> None:
    clock = Cron([expression], zone)
    following = clock.after(at)
    assert following is not None and following > at
    before = clock.before(following)
    assert before is not None and before <= at
    assert clock.after(before) == following


def definition(**fields: object) -> DagDefinition:
    made = DagDefinition(dag_id="dag", version="v1")
    for name, value in fields.items():
        if name in ("start_date", "end_date"):
            getattr(made, name).CopyFrom(times.to_timestamp(us(str(value))))
        elif name == "cron":
            made.schedule.cron.expressions.append(str(value))
            made.schedule.cron.timezone = "UTC"
        elif name == "hours":
            made.schedule.delta.period.FromSeconds(int(str(value)) * 3600)
        elif name == "months":
            made.schedule.delta.months = int(str(value))
            made.schedule.delta.timezone = "Europe/Berlin"
        elif name == "kind":
            getattr(made.schedule, str(value)).SetInParent()
        elif name == "run_at_tick":
            made.schedule.cron.run_at_tick = bool(value)
        else:
            setattr(made, name, value)
    return made


def planned(made: DagDefinition, now: str, count: int) -> list[str]:
    found: list[str] = []
    last: Tick | None = None
    for _ in range(count):
        tick, (_, reason) = schedules.timetable(made).next(last, us(now))
        if tick is None:
            found.append(reason)
            break
        found.append(f"{text(tick.logical)} due {text(tick.run_after)}")
        last = Tick(tick.logical, tick.start, tick.end or tick.logical, tick.run_after)
    return found


def test_intervals_start_at_their_end() -> None:
    made = definition(cron="0 0 * * *", start_date="2025-01-01T00:00", catchup=True)
    assert planned(made, "2025-01-10T00:00", 2) == ["01-01 00:00 due 01-02 00:00", "01-02 00:00 due 01-03 00:00"]


def test_without_catchup_only_the_latest_interval() -> None:
    made = definition(cron="0 0 * * *", start_date="2025-01-01T00:00")
    assert planned(made, "2025-01-10T10:00", 2) == ["01-09 00:00 due 01-10 00:00", "01-10 00:00 due 01-11 00:00"]


def test_start_date_between_ticks_waits_for_the_next() -> None:
    made = definition(cron="0 0 * * *", start_date="2025-01-01T10:00", catchup=True)
    assert planned(made, "2025-01-10T00:00", 1) == ["01-02 00:00 due 01-03 00:00"]


def test_end_date_stops() -> None:
    made = definition(cron="0 0 * * *", start_date="2025-01-01T00:00", end_date="2025-01-02T00:00", catchup=True)
    found = planned(made, "2025-01-10T00:00", 5)
    assert found[:2] == ["01-01 00:00 due 01-02 00:00", "01-02 00:00 due 01-03 00:00"]
    assert "end_date" in found[2]


def test_at_tick() -> None:
    made = definition(cron="0 6 * * *", start_date="2025-01-01T00:00", catchup=True, run_at_tick=True)
    assert planned(made, "2025-01-10T00:00", 2) == ["01-01 06:00 due 01-01 06:00", "01-02 06:00 due 01-02 06:00"]
    made.catchup = False
    assert planned(made, "2025-01-10T07:00", 2) == ["01-10 06:00 due 01-10 06:00", "01-11 06:00 due 01-11 06:00"]


def test_delta_counts_from_the_start_date() -> None:
    made = definition(hours=5, start_date="2025-01-01T01:00", catchup=True)
    assert planned(made, "2025-01-10T00:00", 2) == ["01-01 01:00 due 01-01 06:00", "01-01 06:00 due 01-01 11:00"]


def test_months_are_counted_in_local_time() -> None:
    made = definition(months=1, start_date="2025-01-31T11:00", catchup=True)
    # 12:00 in Berlin on the last day of each month, an hour earlier in UTC from April on.
    assert planned(made, "2025-12-01T00:00", 4) == [
        "01-31 11:00 due 02-28 11:00",
        "02-28 11:00 due 03-31 10:00",
        "03-31 10:00 due 04-30 10:00",
        "04-30 10:00 due 05-31 10:00",
    ]


def test_once_and_none() -> None:
    made = definition(kind="once", start_date="2025-01-01T00:00")
    found = planned(made, "2025-01-10T00:00", 3)
    assert found[0] == "01-01 00:00 due 01-01 00:00" and "@once" in found[1]
    assert "no schedule" in planned(definition(kind="none"), "2025-01-10T00:00", 1)[0]


def test_explicit_intervals() -> None:
    made = definition(start_date="2025-01-01T00:00", catchup=True)
    for day in ("2025-01-03T00:00", "2025-01-05T00:00"):
        interval = made.schedule.explicit.intervals.add()
        for name in ("logical_date", "start", "end", "run_after"):
            getattr(interval, name).CopyFrom(times.to_timestamp(us(day)))
    found = planned(made, "2025-01-10T00:00", 3)
    assert found[:2] == ["01-03 00:00 due 01-03 00:00", "01-05 00:00 due 01-05 00:00"]
    made.catchup = False
    assert planned(made, "2025-01-10T00:00", 1) == ["01-05 00:00 due 01-05 00:00"]


def test_what_cannot_be_evaluated_never_runs_and_says_why() -> None:
    made = definition(cron="61 0 * * *", start_date="2025-01-01T00:00")
    assert "61 0 * * *" in planned(made, "2025-01-10T00:00", 1)[0]
    made = definition(cron="0 0 * * *", start_date="2025-01-01T00:00")
    made.schedule.cron.timezone = "Mars/Olympus"
    assert "Mars/Olympus" in planned(made, "2025-01-10T00:00", 1)[0]


def test_several_crons_are_one_schedule() -> None:
    made = definition(cron="0 6 * * *", start_date="2025-01-01T00:00", catchup=True)
    made.schedule.cron.expressions.append("0 18 * * *")
    assert planned(made, "2025-01-10T00:00", 2) == ["01-01 06:00 due 01-01 18:00", "01-01 18:00 due 01-02 06:00"]
