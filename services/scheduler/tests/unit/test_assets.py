"""Assets reach the DAGs that wait for them, across partitions, exactly once (B8)."""

from __future__ import annotations

import pytest
from spinner_proto.common.v1.common_pb2 import RunType
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import Command, InboxMessage
from spinner_scheduler.domain import times
from spinner_scheduler.domain.core import evolve_record
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState

INBOX = "scheduler_inbox-spinner_tier_1"
PARTITIONS = 3


class Cell:
    """Several partitions whose messages reach each other."""

    def __init__(self, make_lab) -> None:  # type: ignore[no-untyped-def]
        self.labs = [make_lab(Address(INBOX, number), pool_partitions=PARTITIONS) for number in range(PARTITIONS)]

    def pump(self) -> None:
        """Delivers messages, oldest first, until there are none."""
        while any(lab.messages for lab in self.labs):
            for lab in self.labs:
                messages, lab.messages = lab.messages, []
                for to, _, message in messages:
                    self.labs[to.partition].take(message)

    def publish(self, number: int, made: DagDefinition) -> None:
        self.labs[number].publish(made)
        self.pump()

    def produce(self, number: int, dag_id: str, run_id: str, **fields: object) -> None:
        self.labs[number].trigger(run_id, dag_id)
        self.labs[number].end("make", run_id=run_id, **fields)
        self.pump()


def replayed(lab) -> PartitionState:  # type: ignore[no-untyped-def]
    """The state that a lab's events make."""
    layouts = Layouts(lambda dag_id, version: lab.definitions.get((dag_id, version)))
    state = PartitionState(layouts, lab.state.here, pool_partitions=PARTITIONS)
    for result in lab.results:
        for record in result.records:
            evolve_record(state, record)
    return state


@pytest.fixture
def cell(make_lab) -> Cell:  # type: ignore[no-untyped-def]
    return Cell(make_lab)


def producer(lab, dag_id: str, *outlets: str, aliases: list[str] | None = None) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = lab.dag(dag_id)
    made.tasks.add(task_id="make", outlets=outlets, outlet_aliases=aliases)
    return made


def consumer(lab, dag_id: str, version: str = "v1", **expression: object) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = lab.dag(dag_id, version)
    made.schedule.assets.SetInParent()
    made.schedule.assets.expression.CopyFrom(type(made.schedule.assets.expression)(**expression))
    made.tasks.add(task_id="use")
    return made


def both(*names: str) -> dict[str, object]:
    return {"all": {"items": [{"asset": name} for name in names]}}


def test_an_update_starts_consumers_in_all_partitions_once(cell) -> None:  # type: ignore[no-untyped-def]
    for number, lab in enumerate(cell.labs):
        cell.publish(number, consumer(lab, f"use_{number}", asset="a"))
    cell.publish(0, producer(cell.labs[0], "maker", "a"))
    cell.produce(0, "maker", "one")
    for number, lab in enumerate(cell.labs):
        (run_id,) = lab.runs(f"use_{number}")
        (made,) = [e.run_created for _, r, e in lab.events if r == run_id and e.HasField("run_created")]
        assert made.run_type == RunType.RUN_TYPE_ASSET
        (update,) = made.asset_events
        assert (update.asset, update.producer.dag_id, update.producer.run_id, update.sequence) == (
            "a",
            "maker",
            "one",
            1,
        )
        assert lab.order("use", run_id).asset_events == made.asset_events


def test_all_wait_for_all_and_count_anew_afterwards(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(1, consumer(cell.labs[1], "use", **both("a", "b")))
    for number, name in ((0, "a"), (2, "b")):
        cell.publish(number, producer(cell.labs[number], f"make_{name}", name))
    cell.produce(0, "make_a", "one")
    cell.produce(0, "make_a", "two")
    assert cell.labs[1].runs("use") == []
    cell.produce(2, "make_b", "one")
    made = cell.labs[1].last("run_created")
    assert [(update.asset, update.sequence) for update in made.asset_events] == [("a", 1), ("a", 2), ("b", 1)]
    cell.produce(2, "make_b", "two")
    assert len(cell.labs[1].runs("use")) == 1
    cell.produce(0, "make_a", "three")
    assert len(cell.labs[1].runs("use")) == 2


def test_nested_conditions(cell) -> None:  # type: ignore[no-untyped-def]
    nested = {"any": {"items": [{"asset": "a"}, both("b", "c")]}}
    cell.publish(0, consumer(cell.labs[0], "use", **nested))
    for name in ("a", "b", "c"):
        cell.publish(1, producer(cell.labs[1], f"make_{name}", name))
    counts = []
    for name in ("b", "a", "c", "b", "c"):
        cell.produce(1, f"make_{name}", f"{name}{len(counts)}")
        counts.append(len(cell.labs[0].runs("use")))
    # The run for "a" consumed the "b" before it.
    assert counts == [0, 1, 1, 2, 2]


def test_a_failed_task_updates_nothing(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, consumer(cell.labs[0], "use", asset="a"))
    cell.publish(0, producer(cell.labs[0], "maker", "a"))
    cell.produce(0, "maker", "one", outcome=2)
    assert cell.labs[0].runs("use") == []


def test_while_paused_updates_pass_by_and_unpausing_makes_no_burst(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, consumer(lab, "use", asset="a"))
    cell.publish(0, producer(lab, "maker", "a"))
    lab.command("use", set_paused={"paused": True})
    for run_id in ("one", "two"):
        cell.produce(0, "maker", run_id)
    lab.command("use", set_paused={"paused": False})
    assert lab.runs("use") == []
    cell.produce(0, "maker", "three")
    assert len(lab.runs("use")) == 1


def test_a_new_version_waits_for_what_it_says(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(1, consumer(cell.labs[1], "use", asset="a"))
    cell.publish(1, consumer(cell.labs[1], "use", "v2", asset="b"))
    for name in ("a", "b"):
        cell.publish(0, producer(cell.labs[0], f"make_{name}", name))
    cell.produce(0, "make_a", "one")
    assert cell.labs[1].runs("use") == []
    cell.produce(0, "make_b", "one")
    assert len(cell.labs[1].runs("use")) == 1
    subscribers = [set(asset.subscribers) for lab in cell.labs for asset in lab.state.assets.values()]
    assert sorted(map(len, subscribers)) == [0, 1]


def test_a_removed_dag_waits_for_nothing_until_it_is_back(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    cell.publish(0, consumer(lab, "use", asset="a"))
    cell.publish(0, producer(lab, "maker", "a"))
    lab.take(InboxMessage(definition_removed={"dag_id": "use"}))
    cell.pump()
    cell.produce(0, "maker", "one")
    assert lab.runs("use") == []
    cell.publish(0, consumer(lab, "use", asset="a"))
    cell.produce(0, "maker", "two")
    assert len(lab.runs("use")) == 1


def test_a_dag_that_moves_keeps_one_subscription_whatever_comes_first(cell) -> None:  # type: ignore[no-untyped-def]
    old, new = cell.labs[0], cell.labs[1]
    cell.publish(0, consumer(old, "use", asset="a"))
    new.publish(consumer(new, "use", asset="a"))
    cell.pump()
    # The old partition hears last that the DAG is gone.
    old.take(InboxMessage(definition_removed={"dag_id": "use"}))
    cell.pump()
    cell.publish(2, producer(cell.labs[2], "maker", "a"))
    cell.produce(2, "maker", "one")
    assert (old.runs("use"), len(new.runs("use"))) == ([], 1)


def test_aliases_publish_assets_that_are_named_at_run_time(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, consumer(cell.labs[0], "by_alias", alias="files"))
    cell.publish(1, consumer(cell.labs[1], "by_asset", asset="s3://b/1"))
    cell.publish(2, producer(cell.labs[2], "maker", aliases=["files"]))
    cell.produce(2, "maker", "nothing")
    assert cell.labs[0].runs("by_alias") == []
    said = [{"asset": "s3://b/1", "aliases": ["files"], "extra_json": '{"rows": 3}'}]
    cell.produce(2, "maker", "something", asset_events=said)
    (update,) = cell.labs[0].last("run_created").asset_events
    assert (update.asset, update.via_alias, update.extra_json) == ("s3://b/1", "files", '{"rows": 3}')
    assert len(cell.labs[1].runs("by_asset")) == 1


def test_assets_or_time_runs_by_both(cell) -> None:  # type: ignore[no-untyped-def]
    lab = cell.labs[0]
    made = consumer(lab, "use", asset="a")
    made.schedule.assets.or_time.delta.period.FromSeconds(3600)
    made.start_date.CopyFrom(times.to_timestamp(lab.epoch))
    cell.publish(0, made)
    cell.publish(0, producer(lab, "maker", "a"))
    lab.at(60)
    cell.produce(0, "maker", "one")
    lab.at(3600)
    assert [run_id.partition("__")[0] for run_id in lab.runs("use")] == ["asset", "scheduled"]


def test_an_update_by_hand_is_idempotent_by_request_id(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, consumer(cell.labs[0], "use", asset="a"))
    owner = cell.labs[cell.labs[0].state.asset_owner((False, "a")).partition]
    command = Command(request_id="once", create_asset_event={"asset": "a", "extra_json": "{}"})
    command.actor.name = "user:alice"
    for _ in range(2):
        owner.take(InboxMessage(command=command))
        cell.pump()
    assert owner.last("command_accepted").request_id == "once"
    (update,) = cell.labs[0].last("run_created").asset_events
    assert update.actor.name == "user:alice"
    assert len(cell.labs[0].runs("use")) == 1


def test_what_a_dag_keeps_while_it_waits_is_bounded(cell) -> None:  # type: ignore[no-untyped-def]
    cell.publish(0, consumer(cell.labs[0], "use", **both("a", "b")))
    for name in ("a", "b"):
        cell.publish(0, producer(cell.labs[0], f"make_{name}", name))
    for number in range(60):
        cell.produce(0, "make_a", f"a{number}")
    assert len(cell.labs[0].state.dags["use"].updates) == 50
    cell.produce(0, "make_b", "b")
    told = cell.labs[0].last("run_created").asset_events
    assert [update.sequence for update in told][-2:] == [60, 1]
