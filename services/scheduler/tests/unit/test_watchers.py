"""Watchers and freshness: what an asset's owner does for the DAGs that use it (B8)."""

from __future__ import annotations

import json

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WatcherState
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import DesiredState, OrderKind, TaskOrder
from spinner_scheduler.adapters.recovery import _load, take_snapshot
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.simulation.invariants import dump

from services.scheduler.tests.unit.test_assets import Cell, consumer, producer, replayed

TRIGGER = "spinner.triggers.kafka.KafkaMessageQueueTrigger"


@pytest.fixture
def cell(make_lab) -> Cell:  # type: ignore[no-untyped-def]
    return Cell(make_lab)


def watched(
    cell: Cell, number: int, dag_id: str, version: str = "v1", arguments: bytes = b"{}", trigger: str = TRIGGER
) -> DagDefinition:
    made = consumer(cell.labs[number], dag_id, version, asset="a")
    made.bundle.object_key = f"bundles/{version}"
    asset = made.assets.add(name="a", uri="a")
    needs = not trigger.startswith("spinner.")
    asset.watchers.add(name="w", trigger_class=trigger, trigger_arguments_json=arguments, needs_bundle=needs)
    return made


def orders(cell: Cell) -> list[TaskOrder]:
    return [o for lab in cell.labs for o in lab.orders.values() if o.kind == OrderKind.ORDER_KIND_WATCHER]


def owner(cell: Cell):  # type: ignore[no-untyped-def]
    return cell.labs[cell.labs[0].state.asset_owner((False, "a")).partition]


def report(cell: Cell, order: TaskOrder, *events: dict[str, object], error: str = "") -> None:
    said = TaskReport(try_key=order.try_key, executor="here:1")
    said.watcher_reported.asset = order.asset
    said.watcher_reported.error = error
    said.watcher_reported.mark = f"mark {events[-1].get('event_id', '')[4:]}" if events else ""  # type: ignore[index]
    for event in events:
        said.watcher_reported.events.add(**event)  # type: ignore[arg-type]
    owner(cell).take(InboxMessage(task_report=said))
    cell.pump()


def message(number: int) -> dict[str, object]:
    return {"event_id": f"t/0/{number}", "payload_json": str(number).encode(), "cursor": str(number + 1)}


def told(cell: Cell):  # type: ignore[no-untyped-def]
    return owner(cell).state.assets[(False, "a")].watchers["w"].told


def payloads(cell: Cell, number: int, dag_id: str) -> list[object]:
    events = cell.labs[number].events
    made = [e.run_created for d, _, e in events if d == dag_id and e.HasField("run_created")]
    return [json.loads(update.extra_json)["payload"] for run in made for update in run.asset_events]


def test_there_is_one_watcher_however_many_dags_have_it(cell) -> None:  # type: ignore[no-untyped-def]
    for number in range(3):
        cell.publish(number, watched(cell, number, f"use_{number}"))
    (order,) = orders(cell)
    assert (order.asset, order.trigger_class, order.desired_state) == (
        "a",
        TRIGGER,
        DesiredState.DESIRED_STATE_DEFERRED,
    )
    report(cell, order)
    assert told(cell).state == WatcherState.WATCHER_STATE_RUNNING
    report(cell, order, message(7))
    for number in range(3):
        assert payloads(cell, number, f"use_{number}") == [7]


def test_an_event_counts_once_and_its_cursor_is_in_the_order(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    (order,) = orders(cell)
    report(cell, order, message(1), message(2))
    report(cell, order, message(1), message(2), message(3))
    report(cell, order, message(2))
    assert payloads(cell, 0, "use") == [1, 2, 3]
    (order,) = orders(cell)
    # Whoever told it twice hears both times that it was taken.
    assert order.trigger_mark == "mark 2"
    report(cell, order, {"event_id": "mark", "cursor": "9"})
    assert orders(cell)[0].trigger_cursor == "9"
    assert payloads(cell, 0, "use") == [1, 2, 3]


def test_events_without_an_id_all_count(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    for _ in range(2):
        report(cell, orders(cell)[0], {"payload_json": b"1"})
    assert payloads(cell, 0, "use") == [1, 1]


def test_it_stops_when_no_dag_that_runs_has_it_and_goes_on_where_it_was(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "one"))
    cell.publish(1, watched(cell, 1, "two"))
    report(cell, orders(cell)[0], message(1))
    cell.labs[0].command("one", set_paused={"paused": True})
    cell.pump()
    assert len(orders(cell)) == 1
    first = orders(cell)[0]
    cell.labs[1].take(InboxMessage(definition_removed={"dag_id": "two"}))
    cell.pump()
    assert (orders(cell), told(cell).state) == ([], WatcherState.WATCHER_STATE_STOPPED)
    report(cell, first, message(2))
    assert payloads(cell, 0, "one") == [1]
    cell.labs[0].command("one", set_paused={"paused": False})
    cell.pump()
    (again,) = orders(cell)
    assert (again.try_key.try_number, again.trigger_cursor) == (2, "2")


def test_a_dag_without_the_watcher_any_more_ends_it(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    cell.publish(0, consumer(cell.labs[0], "use", "v2", asset="a"))
    assert orders(cell) == []


def test_a_new_content_is_a_new_generation_and_another_trigger_begins_anew(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    report(cell, orders(cell)[0], message(1))
    old = orders(cell)[0]
    cell.publish(0, watched(cell, 0, "use", "v2", b'{"topics": ["t"]}'))
    (order,) = orders(cell)
    assert (order.try_key.try_number, order.trigger_cursor) == (2, "2")
    report(cell, old, message(2))
    assert payloads(cell, 0, "use") == [1]
    cell.publish(0, watched(cell, 0, "use", "v3", trigger="mine.Trigger"))
    (order,) = orders(cell)
    assert (order.try_key.try_number, order.trigger_cursor, order.bundle.object_key) == (3, "", "bundles/v3")


def test_a_new_version_of_the_dag_leaves_a_trigger_of_the_sdk_alone(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    cell.publish(0, watched(cell, 0, "use", "v2"))
    assert orders(cell)[0].try_key.try_number == 1
    cell.publish(0, watched(cell, 0, "use", "v3", trigger="mine.Trigger"))
    cell.publish(0, watched(cell, 0, "use", "v4", trigger="mine.Trigger"))
    assert (orders(cell)[0].try_key.try_number, orders(cell)[0].bundle.object_key) == (3, "bundles/v4")


def test_a_failure_is_told_until_the_next_event(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    report(cell, orders(cell)[0], error="no broker")
    assert (told(cell).state, told(cell).error) == (WatcherState.WATCHER_STATE_FAILING, "no broker")
    report(cell, orders(cell)[0], message(1))
    assert (told(cell).state, told(cell).error) == (WatcherState.WATCHER_STATE_RUNNING, "")


def test_a_payload_that_is_too_large_is_told_by_its_size(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    report(cell, orders(cell)[0], {"event_id": "x", "payload_json": b'"' + b"x" * 20_000 + b'"'})
    (update,) = cell.labs[0].last("run_created").asset_events
    assert json.loads(update.extra_json) == {"from_trigger": True, "payload": None, "payload_bytes": 20_002}


def test_snapshots_equal_the_live_state_and_remember_events(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    for batch in range(25):
        report(cell, orders(cell)[0], *(message(100 * batch + number) for number in range(100)))
    lab = owner(cell)
    snapshot = take_snapshot(lab.state, "asset:a", 1)
    assert snapshot is not None
    again = PartitionState(Layouts(lambda d, v: None), lab.state.here, pool_partitions=3)
    _load(again, snapshot)
    assert dump(again)["assets"] == dump(lab.state)["assets"]
    assert len(again.assets[(False, "a")].watchers["w"].seen) == 2000


# -- freshness -----------------------------------------------------------------------------------------------------


def fresh(lab, dag_id: str, seconds: int) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = producer(lab, dag_id, "a")
    asset = made.assets.add(name="a", uri="a", has_stale_callback=True)
    asset.freshness.FromSeconds(seconds)
    return made


def at(cell: Cell, seconds: float) -> None:
    for lab in cell.labs:
        lab.at(seconds)
    cell.pump()


def stale_orders(cell: Cell) -> list[TaskOrder]:
    return [o for lab in cell.labs for o in lab.orders.values() if o.callback == "stale"]


def test_the_callback_is_called_once_for_each_time_that_it_goes_stale(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, fresh(cell.labs[0], "one", 100))
    cell.publish(1, fresh(cell.labs[1], "two", 300))
    at(cell, 50)
    cell.produce(0, "one", "run")
    at(cell, 149)
    assert stale_orders(cell) == []
    at(cell, 151)
    (order,) = stale_orders(cell)
    assert (order.asset, order.try_key.dag_id, order.kind) == ("a", "one", OrderKind.ORDER_KIND_CALLBACK)
    assert order.stale_time.seconds - order.last_update_time.seconds == 100
    at(cell, 1000)
    assert len(stale_orders(cell)) == 1
    cell.produce(1, "two", "run")
    at(cell, 1101)
    assert len(stale_orders(cell)) == 2


def test_an_asset_that_never_had_an_update_goes_stale_too(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, fresh(cell.labs[0], "one", 100))
    at(cell, 101)
    (order,) = stale_orders(cell)
    assert (order.HasField("last_update_time"), order.callback_reason) == (False, "the asset a had no update yet")


def test_a_callback_ends_like_others(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, fresh(cell.labs[0], "one", 100))
    at(cell, 101)
    (order,) = stale_orders(cell)
    lab = cell.labs[0]
    failed = lab.report(order, 3, ended={"outcome": Outcome.OUTCOME_FAILED, "message": "oh"})
    failed.order = order.SerializeToString()
    lab.take(InboxMessage(task_report=failed))
    (again,) = stale_orders(cell)
    assert again.segment == 1
    lab.take(InboxMessage(task_report=lab.report(again, 3, ended={"outcome": Outcome.OUTCOME_SUCCESS})))
    assert stale_orders(cell) == []


def test_a_changed_freshness_repeats_no_callback(cell) -> None:  # type: ignore[no-untyped-def]
    """Found by seed 4314 of the simulation."""
    lab = cell.labs[0]
    cell.publish(0, fresh(lab, "one", 100))
    at(cell, 101)
    (order,) = stale_orders(cell)
    lab.take(InboxMessage(task_report=lab.report(order, 3, ended={"outcome": Outcome.OUTCOME_SUCCESS})))
    for number, seconds in enumerate((10, 100, 120)):
        made = fresh(lab, "one", seconds)
        made.version = f"v{2 + number}"
        cell.publish(0, made)
        at(cell, 102 + number)
        assert stale_orders(cell) == []
    at(cell, 121)
    assert [one.stale_time.seconds - order.stale_time.seconds for one in stale_orders(cell)] == [20]


def test_a_paused_dag_is_not_called(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, fresh(cell.labs[0], "one", 100))
    cell.labs[0].command("one", set_paused={"paused": True})
    cell.pump()
    at(cell, 200)
    assert stale_orders(cell) == []


def test_replayed_events_equal_the_live_state(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, watched(cell, 0, "use"))
    cell.publish(1, fresh(cell.labs[1], "make", 100))
    report(cell, orders(cell)[0], message(1), message(2))
    report(cell, orders(cell)[0], error="no broker")
    at(cell, 101)
    cell.labs[0].command("use", set_paused={"paused": True})
    cell.pump()
    assert stale_orders(cell)
    for lab in cell.labs:
        assert dump(replayed(lab)) == dump(lab.state)
