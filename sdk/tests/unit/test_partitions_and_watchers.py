"""Partitions, watchers and freshness callbacks of assets in definitions and tasks (B8)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from spinner import (
    DAG,
    Asset,
    AssetAlias,
    AssetWatcher,
    CronPartitionTimetable,
    DayWindow,
    EmptyOperator,
    IdentityMapper,
    Metadata,
    MonthWindow,
    PartitionedAssetTimetable,
    PartitionMapper,
    RollupMapper,
    SpinnerDagError,
    StartOfDayMapper,
    StartOfQuarterMapper,
    Tier,
)
from spinner.exceptions import SpinnerException
from spinner.runtime.assets import OutletEvents
from spinner.serialization.definition import dag_to_definition
from spinner.triggers import BaseEventTrigger, TriggerEvent, load_trigger
from spinner.triggers.file import FileTrigger
from spinner.triggers.kafka import KafkaMessageQueueTrigger
from spinner.triggers.message_queue import MessageQueueTrigger
from spinner.triggers.s3 import S3KeyTrigger
from spinner.triggers.sqs import SqsSensorTrigger, _events
from spinner_proto.definitions.v1 import definitions_pb2 as pb

A, B = Asset("a"), Asset("b")


def dag(schedule: Any = None, **more: Any) -> DAG:
    access = {"team": {"can_dag_read", "can_dag_edit"}}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return DAG("d", schedule=schedule, start_date=start, tier=Tier.TIER1, access_control=access, owner="x", **more)


# -- partitions ----------------------------------------------------------------------------------------------------


def test_a_partitioned_schedule_has_its_mappers_as_data() -> None:
    timetable = PartitionedAssetTimetable(
        assets=A & B,
        default_partition_mapper=IdentityMapper(),
        partition_mapper_config={
            B: RollupMapper(upstream_mapper=StartOfDayMapper(timezone="Europe/Paris"), window=DayWindow())
        },
    )
    schedule = timetable.to_schedule().assets
    assert schedule.partitioned
    assert not schedule.default_mapper.HasField("time")
    time = schedule.mappers["b"].time
    assert (time.input_format, time.output_format, time.timezone) == ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "Europe/Paris")
    assert time.period == time.window == pb.PARTITION_PERIOD_DAY
    assert timetable.text() == "partitions of assets: a, b"


def test_a_scheduled_producer_has_a_key_for_each_tick() -> None:
    timetable = CronPartitionTimetable(
        "0 2 * * *", timezone="UTC", run_offset=timedelta(days=-1), key_format="%Y-%m-%d"
    )
    cron = timetable.to_schedule().cron
    assert (cron.partition_format, cron.partition_offset.ToTimedelta()) == ("%Y-%m-%d", timedelta(days=-1))
    assert cron.run_at_tick


class Own(PartitionMapper):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: RollupMapper(upstream_mapper=StartOfDayMapper(), window=MonthWindow()),
        lambda: RollupMapper(upstream_mapper=IdentityMapper(), window=DayWindow()),
        lambda: StartOfQuarterMapper(timezone="Nowhere/Town"),
        lambda: PartitionedAssetTimetable(assets=A, partition_mapper_config={B: IdentityMapper()}),
        lambda: PartitionedAssetTimetable(assets=A, default_partition_mapper=Own()).to_schedule(),
        lambda: CronPartitionTimetable("0 2 * * *", timezone="UTC", key_format=""),
        lambda: CronPartitionTimetable("0 2 * * *", timezone="UTC", run_offset=1),  # type: ignore[arg-type]
    ],
)
def test_what_can_not_be_a_partition_is_refused(make: Any) -> None:
    with pytest.raises(SpinnerDagError, match=r"Use|Give"):
        make()


def said(events: OutletEvents) -> list[tuple[str, str, str, list[str]]]:
    return [(e.asset, e.partition_key, e.extra_json, list(e.aliases)) for e in events.report()]


def test_a_task_says_which_partitions_it_updated() -> None:
    events = OutletEvents([A, AssetAlias("files")])
    events[A].add(A, {"rows": 1}, partition_key="red")
    events[A].add_partition("blue")
    events["files"].add(B, partition_key="red")
    assert said(events) == [
        ("a", "red", '{"rows":1}', []),
        ("a", "blue", "", []),
        ("b", "red", "", ["files"]),
    ]


def test_an_outlet_without_a_key_is_one_event_with_its_extra() -> None:
    events = OutletEvents([A])
    events[A].extra = {"rows": 1}
    events[A].add(A, {"more": 2})
    assert said(events) == [("a", "", '{"rows":1,"more":2}', [])]
    events.take(Metadata(A, {"rows": 3}, partition_key="red"))
    assert said(events)[1] == ("a", "red", '{"rows":3}', [])


def test_a_key_that_is_none_is_refused() -> None:
    events = OutletEvents([A, AssetAlias("files")])
    with pytest.raises(SpinnerDagError, match="250"):
        events[A].add_partition("x" * 251)
    with pytest.raises(SpinnerException, match="no asset"):
        events["files"].add()


# -- watchers and freshness ----------------------------------------------------------------------------------------


class Mine(BaseEventTrigger):
    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "mine.Mine", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(1)


def test_watchers_and_callbacks_are_in_the_definition() -> None:
    kafka = AssetWatcher("orders", trigger=MessageQueueTrigger(queue="kafka://broker:9092/orders,returns"))
    asset = Asset(
        "a",
        watchers=[kafka, AssetWatcher("mine", trigger=Mine())],
        freshness=timedelta(hours=1),
        on_stale_callback=print,
    )
    with dag([asset]) as made:
        EmptyOperator(task_id="t", outlets=[B])
    a, b = dag_to_definition(made).assets
    assert (a.has_stale_callback, b.has_stale_callback, len(b.watchers)) == (True, False, 0)
    first, second = a.watchers
    assert (first.name, first.needs_bundle) == ("orders", False)
    assert (second.trigger_class, second.needs_bundle) == ("mine.Mine", True)
    trigger = load_trigger(first.trigger_class, first.trigger_arguments_json)
    assert isinstance(trigger, KafkaMessageQueueTrigger)
    assert (trigger.topics, trigger.config) == (["orders", "returns"], {"bootstrap.servers": "broker:9092"})


def test_an_asset_that_is_named_twice_has_what_either_says() -> None:
    with dag([Asset("a")]) as made:
        mine = Asset(
            "a",
            watchers=[AssetWatcher("mine", trigger=Mine())],
            freshness=timedelta(hours=1),
            on_stale_callback=print,
        )
        EmptyOperator(task_id="t", inlets=[mine])
    (a,) = dag_to_definition(made).assets
    assert (len(a.watchers), a.has_stale_callback, a.freshness.seconds) == (1, True, 3600)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AssetWatcher("a b", trigger=Mine()),
        lambda: AssetWatcher("w", trigger=FileTrigger("/x")),  # type: ignore[arg-type]
        lambda: Asset("a", watchers=[AssetWatcher("w", trigger=Mine()), AssetWatcher("w", trigger=Mine())]),
        lambda: Asset("a", on_stale_callback=print),
        lambda: MessageQueueTrigger(queue="kafka://broker:9092/"),
        lambda: MessageQueueTrigger(queue="rabbit://x/y"),
    ],
)
def test_what_can_not_watch_is_refused(make: Any) -> None:
    with pytest.raises(SpinnerDagError, match=r"Use|Give"):
        make()


@pytest.mark.parametrize(
    "trigger",
    [
        KafkaMessageQueueTrigger("t", apply_function="mine.f", apply_function_args=[1]),
        S3KeyTrigger("bucket", "in/*", True, poke_interval=3, client_options={"region_name": "x"}),
        SqsSensorTrigger("https://sqs.eu-west-1.amazonaws.com/1/q", wait_time_seconds=2),
    ],
)
def test_triggers_come_back_as_they_were(trigger: BaseEventTrigger) -> None:
    from spinner.triggers import trigger_arguments

    again = load_trigger(*trigger_arguments(trigger))
    assert again.serialize() == trigger.serialize()


def test_the_queue_s_kind_chooses_the_trigger() -> None:
    path, arguments = MessageQueueTrigger(queue="https://sqs.eu-west-1.amazonaws.com/1/q").serialize()
    assert (path, arguments["sqs_queue"]) == (
        "spinner.triggers.sqs.SqsSensorTrigger",
        "https://sqs.eu-west-1.amazonaws.com/1/q",
    )


def test_a_record_of_s3_is_known_by_its_sequencer() -> None:
    body = '{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"a+b%2Fc","sequencer":"01"}}}]}'
    (event,) = _events({"MessageId": "m", "Body": body})
    assert (event.event_id, event.payload["s3"]["object"]["key"]) == ("b/a b/c@01", "a b/c")
    (event,) = _events({"MessageId": "m", "Body": '{"Event": "s3:TestEvent"}'})
    assert event.event_id == "m"


def test_watchers_load_no_client_before_they_run() -> None:
    code = (
        "import sys\n"
        "from spinner import Asset, AssetWatcher\n"
        "from spinner.triggers.message_queue import MessageQueueTrigger\n"
        "from spinner.triggers.s3 import S3KeyTrigger\n"
        "Asset('a', watchers=[AssetWatcher('w', trigger=MessageQueueTrigger(queue='kafka://b:1/t')),\n"
        "    AssetWatcher('v', trigger=S3KeyTrigger('b'))])\n"
        "print(sorted({'boto3', 'botocore', 'confluent_kafka'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
