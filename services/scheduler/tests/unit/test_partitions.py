"""Partitions of assets: keys, mappers, and one run for each key for which a DAG's condition holds (B8)."""

from __future__ import annotations

import pytest
from spinner_proto.definitions.v1.definitions_pb2 import AssetSchedule, DagDefinition, PartitionMapper
from spinner_scheduler.adapters.recovery import _load, take_snapshot
from spinner_scheduler.domain import partitions, times
from spinner_scheduler.domain.explain import explain
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.simulation.invariants import dump

from services.scheduler.tests.unit.test_assets import Cell, both, consumer, producer, replayed

HOURS = [f"2025-10-09T{hour:02}:00:00" for hour in range(24)]
DAY = {"input_format": "%Y-%m-%dT%H:%M:%S", "output_format": "%Y-%m-%d", "period": 2}


@pytest.fixture
def cell(make_lab) -> Cell:  # type: ignore[no-untyped-def]
    return Cell(make_lab)


def by_partition(lab, dag_id: str = "use", version: str = "v1", *, mapper: object = None, **expression: object):  # type: ignore[no-untyped-def]
    made = consumer(lab, dag_id, version, **expression)
    made.schedule.assets.partitioned = True
    if mapper is not None:
        made.schedule.assets.default_mapper.time.CopyFrom(PartitionMapper(time=mapper).time)  # type: ignore[arg-type]
    return made


def produce(cell: Cell, dag_id: str, run_id: str, *keys: str, number: int = 0) -> None:
    said = [{"asset": dag_id.removeprefix("make_"), "partition_key": key} for key in keys]
    cell.produce(number, dag_id, run_id, asset_events=said)


def keys_of(cell: Cell, number: int = 0, dag_id: str = "use") -> list[str]:
    """Partition keys of a DAG's runs, in the order they were made."""
    events = cell.labs[number].events
    return [e.run_created.partition_key for d, _, e in events if d == dag_id and e.HasField("run_created")]


def schedule(**time: object) -> AssetSchedule:
    return AssetSchedule(partitioned=True, default_mapper={"time": {**DAY, **time}})  # type: ignore[arg-type]


def test_each_key_gets_its_run_when_all_assets_have_it(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(1, by_partition(cell.labs[1], **both("a", "b")))
    for number, name in ((0, "a"), (2, "b")):
        cell.publish(number, producer(cell.labs[number], f"make_{name}", name))
    produce(cell, "make_a", "one", "red", "blue")
    produce(cell, "make_b", "one", "green", number=2)
    assert keys_of(cell, 1) == []
    produce(cell, "make_b", "two", "blue", number=2)
    assert keys_of(cell, 1) == ["blue"]
    made = cell.labs[1].last("run_created")
    assert [(update.asset, update.partition_key) for update in made.asset_events] == [("a", "blue"), ("b", "blue")]
    produce(cell, "make_b", "three", "red", number=2)
    assert keys_of(cell, 1) == ["blue", "red"]
    assert list(cell.labs[1].state.dags["use"].partitioned) == ["green"]
    (run_id, _) = cell.labs[1].runs("use")
    assert cell.labs[1].order("use", run_id).partition_key == "blue"


def test_a_task_updates_the_partition_of_its_run(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, by_partition(lab, asset="a"))
    cell.publish(0, producer(lab, "make_a", "a"))
    lab.command("make_a", trigger_run={"run_id": "one", "partition_key": "2025-10-09"})
    lab.end("make", run_id="one")
    cell.pump()
    assert keys_of(cell) == ["2025-10-09"]


def test_partitions_and_wholes_do_not_mix_and_the_dag_says_why(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, by_partition(lab, asset="a"))
    cell.publish(0, consumer(lab, "whole", asset="a"))
    cell.publish(0, producer(lab, "make_a", "a"))
    cell.produce(0, "make_a", "without")
    assert (len(lab.runs("use")), len(lab.runs("whole"))) == (0, 1)
    produce(cell, "make_a", "with", "red")
    assert (keys_of(cell), len(lab.runs("whole"))) == (["red"], 1)
    said = {reason.code: reason.message for reason in explain(lab.state, _dag("whole"), lab.now).reasons}
    assert "PartitionedAssetTimetable" in said["ASSET_UPDATE_IGNORED"]


def _dag(dag_id: str):  # type: ignore[no-untyped-def]
    from spinner_proto.explain.v1.explain_pb2 import Subject

    return Subject(dag_id=dag_id)


def test_a_rollup_waits_for_every_hour_of_the_day(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, by_partition(lab, mapper={**DAY, "window": 2}, asset="a"))
    cell.publish(0, producer(lab, "make_a", "a"))
    for hour in [*HOURS[:12], *HOURS[13:]]:
        produce(cell, "make_a", hour.replace(":", "."), hour)
    produce(cell, "make_a", "again", HOURS[0])
    assert keys_of(cell) == []
    (pending,) = [r for r in explain(lab.state, _dag("use"), lab.now).reasons if r.code == "ASSET_PARTITION_PENDING"]
    assert pending.message == f"partition 2025-10-09 waits for a (1 keys: {HOURS[12]})"
    produce(cell, "make_a", "last", HOURS[12])
    assert keys_of(cell) == ["2025-10-09"]


def test_a_mapper_without_a_window_takes_the_first(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, by_partition(cell.labs[0], mapper=DAY, asset="a"))
    cell.publish(0, producer(cell.labs[0], "make_a", "a"))
    produce(cell, "make_a", "one", *HOURS[:2])
    assert keys_of(cell) == ["2025-10-09", "2025-10-09"]


def test_a_key_that_the_mapper_can_not_read_counts_for_nothing_and_is_told(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, by_partition(lab, mapper=DAY, asset="a"))
    cell.publish(0, producer(lab, "make_a", "a"))
    produce(cell, "make_a", "one", "yesterday")
    assert keys_of(cell) == []
    texts = [r.message for r in explain(lab.state, _dag("use"), lab.now).reasons if r.code == "ASSET_UPDATE_IGNORED"]
    assert texts == [
        "update 1 of asset a counts for no run: its partition key 'yesterday' is no time in the format "
        "'%Y-%m-%dT%H:%M:%S'"
    ]


def test_a_scheduled_run_has_the_key_of_its_date_and_a_backfill_too(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    made = producer(lab, "make_a", "a")
    made.schedule.cron.CopyFrom(
        type(made.schedule.cron)(
            expressions=["0 * * * *"], timezone="Europe/Paris", run_at_tick=True, partition_format="%Y-%m-%dT%H"
        )
    )
    made.start_date.CopyFrom(times.to_timestamp(lab.epoch - 10 * 3600 * times.SECOND))
    cell.publish(0, made)
    lab.at(3600)
    assert keys_of(cell, dag_id="make_a")[-1] == "2025-10-09T12"
    lab.command("make_a", create_backfill=_backfill(lab, "two", 5))
    assert keys_of(cell, dag_id="make_a")[-1] == "2025-10-09T06"
    lab.command("make_a", create_backfill={**_backfill(lab, "three", 6), "partition_key": "by hand"})
    assert keys_of(cell, dag_id="make_a")[-1] == "by hand"


def _backfill(lab, backfill_id: str, hours_ago: int) -> dict[str, object]:  # type: ignore[no-untyped-def]
    at = times.to_timestamp(lab.epoch - hours_ago * 3600 * times.SECOND)
    return {"backfill_id": backfill_id, "from_date": at, "to_date": at, "max_active_runs": 1}


def test_a_new_version_keeps_what_waits_and_looks_again(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, by_partition(lab, **both("a", "b")))
    cell.publish(0, producer(lab, "make_a", "a"))
    produce(cell, "make_a", "one", "red", "blue")
    cell.publish(0, by_partition(lab, version="v2", asset="a"))
    assert keys_of(cell) == ["red", "blue"]
    produce(cell, "make_a", "two", "green")
    cell.publish(0, by_partition(lab, version="v3", mapper=DAY, **both("a", "b")))
    cell.publish(0, consumer(lab, "use", "v4", asset="a"))
    assert not lab.state.dags["use"].partitioned


def test_what_waits_is_bounded_and_snapshots_equal_the_live_state(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, by_partition(lab, **both("a", "b")))
    cell.publish(0, producer(lab, "make_a", "a"))
    for batch in range(11):
        produce(cell, "make_a", f"run_{batch}", *(f"{batch}-{number}" for number in range(100)))
    kept = list(lab.state.dags["use"].partitioned)
    assert (len(kept), kept[0], kept[-1]) == (1000, "1-0", "10-99")
    cell.produce(0, "make_a", "whole")
    snapshot = take_snapshot(lab.state, "dag:use", 1)
    assert snapshot is not None
    again = PartitionState(Layouts(lambda d, v: lab.definitions.get((d, v))), lab.state.here)
    _load(again, snapshot)
    for name in ("partitioned", "ignored", "updates"):
        assert dump(again)["dags"]["use"][name] == dump(lab.state)["dags"]["use"][name]
    assert list(again.dags["use"].partitioned) == kept


@pytest.mark.parametrize(
    ("period", "key", "expected"),
    [
        (1, "2025-10-09T11:30:05", "2025-10-09T11:00:00"),
        (2, "2025-10-09T11:30:05", "2025-10-09T00:00:00"),
        (3, "2025-10-09T11:30:05", "2025-10-06T00:00:00"),
        (4, "2025-10-09T11:30:05", "2025-10-01T00:00:00"),
        (5, "2025-11-09T11:30:05", "2025-10-01T00:00:00"),
        (6, "2025-10-09T11:30:05", "2025-01-01T00:00:00"),
    ],
)
def test_periods(period: int, key: str, expected: str) -> None:
    assert partitions.run_key(schedule(period=period, output_format="%Y-%m-%dT%H:%M:%S"), "a", key) == expected


def test_keys_with_an_offset_are_of_the_mappers_zone() -> None:
    wanted = schedule(input_format="%Y-%m-%dT%H:%M:%S%z", timezone="Asia/Tokyo")
    assert partitions.run_key(wanted, "a", "2025-10-09T20:00:00+0000") == "2025-10-10"


@pytest.mark.parametrize(
    ("window", "key", "count"),
    [
        (1, "2025-10-09T11:30:00", 60),
        (3, "2025-10-09T00:00:00", 7),
        (4, "2024-02-09T00:00:00", 29),
        (5, "2025-05-09T00:00:00", 3),
        (6, "2025-05-09T00:00:00", 12),
    ],
)
def test_windows_have_all_their_members(window: int, key: str, count: int) -> None:
    found = partitions.needed(schedule(window=window, period=window), "a", key)
    assert len(found) == len(set(found)) == count


def test_a_day_has_no_hour_that_the_clock_leaves_out() -> None:
    wanted = schedule(window=2, timezone="Europe/Paris")
    found = partitions.needed(wanted, "a", "2025-03-30T12:00:00")
    assert (len(found), "2025-03-30T02:00:00" in found) == (23, False)


def test_the_quarter_is_in_the_key() -> None:
    assert partitions.run_key(schedule(period=5, output_format="%Y-Q{quarter}"), "a", HOURS[0]) == "2025-Q4"


def test_a_schedule_without_a_format_gives_no_key() -> None:
    made = DagDefinition()
    made.schedule.cron.expressions.append("0 * * * *")
    assert partitions.of_tick(made, times.SECOND) == ""


def test_replayed_events_equal_the_live_state(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(1, by_partition(cell.labs[1], **both("a", "b")))
    for number, name in ((0, "a"), (2, "b")):
        cell.publish(number, producer(cell.labs[number], f"make_{name}", name))
    produce(cell, "make_a", "one", "red", "blue")
    produce(cell, "make_b", "one", "blue", number=2)
    cell.produce(0, "make_a", "whole")
    for lab in cell.labs:
        assert dump(replayed(lab)) == dump(lab.state)
