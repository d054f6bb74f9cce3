"""The partition loop over the in-memory log, on the test's own thread and clock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from spinner_eventlog.dead_letter import dead_letter
from spinner_eventlog.interface import Outgoing, Record, Transient
from spinner_eventlog.loop import PartitionLoop
from spinner_eventlog.memory import MemoryLog
from spinner_proto.inbox.v1.inbox_pb2 import DefinitionPublished, InboxMessage

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Counting:
    """Numbers its inputs across owners: the number is rebuilt from the outputs."""

    def __init__(self, log: MemoryLog, partition: int, journal: list[str]) -> None:
        self.log, self.partition, self.journal = log, partition, journal
        self.count = 0
        self.due: datetime | None = None
        self.durable: list[int] = []

    def restore(self) -> None:
        self.count = sum(record.key != "timer" for record in self.log.read_all("events", self.partition))
        self.journal.append(f"restore {self.partition}: {self.count}")

    def handle(self, records: Sequence[Record], now: datetime) -> list[Outgoing]:
        outputs = []
        for record in records:
            name = record.decode(InboxMessage).definition_published.dag_id
            if name == "bug":
                raise ZeroDivisionError("a bug")
            if name == "unwanted":
                outputs.append(dead_letter(record, "not wanted"))
                continue
            if name.startswith("alarm"):
                self.due = START + timedelta(seconds=int(name[5:]))
            self.count += 1
            outputs.append(self.event(f"{name}={self.count}"))
        if self.due is not None and self.due <= now:
            self.due = None
            outputs.append(self.event(f"rang {(now - START).total_seconds():g}", key="timer"))
        return outputs

    def event(self, text: str, key: str = "k") -> Outgoing:
        message = InboxMessage(definition_published=DefinitionPublished(dag_id=text))
        return Outgoing("events", key, message, self.partition)

    def committed(self, offsets: Sequence[int]) -> None:
        self.durable += offsets

    def next_due(self) -> datetime | None:
        return self.due


class Overlapping(Counting):
    """Tells what it was asked in which order."""

    quiet = False

    def handle(self, records: Sequence[Record], now: datetime) -> list[Outgoing]:
        outputs = super().handle(records, now)
        self.journal.append(f"decided {len(outputs)}")
        return outputs

    def committed(self, offsets: Sequence[int]) -> None:
        super().committed(offsets)
        self.journal.append(f"durable {len(offsets)}")

    def needs_quiet(self) -> bool:
        return self.quiet


class Rig:
    machine_type: type[Counting] = Counting

    def __init__(self) -> None:
        self.clock = Clock()
        self.failing = self.commits = 0
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.log = MemoryLog(clock=self.clock, wait=False, before_commit=self.before_commit)
        for topic in ("inbox", "events"):
            self.log.create_topic(topic, 2)
        self.log.create_topic("dead_letters")
        self.journal: list[str] = []
        self.machines: list[Counting] = []
        self.poison: list[tuple[int, str]] = []

    def before_commit(self, transactional_id: str) -> None:
        self.commits += 1
        assert self.may_commit.wait(10)
        if self.failing:
            self.failing -= 1
            raise Transient("the broker went away")

    def loop(self, **more) -> PartitionLoop:
        def machine(topic: str, partition: int) -> Counting:
            self.machines.append(self.machine_type(self.log, partition, self.journal))
            return self.machines[-1]

        return PartitionLoop(
            self.log,
            group_id="group",
            input_topics=["inbox"],
            transactional_id_for=lambda topic, partition: f"{topic}-{partition}",
            machine_factory=machine,
            clock=self.clock,
            decode=InboxMessage,
            on_poison=lambda record, reason: self.poison.append((record.offset, reason)),
            **more,
        )

    def send(self, *names: str, partition: int = 0, **headers: str) -> None:
        producer = self.log.producer("test")
        for name in names:
            message = InboxMessage(definition_published=DefinitionPublished(dag_id=name))
            producer.send(Outgoing("inbox", name, message, partition, headers))

    def events(self, partition: int = 0) -> list[str]:
        records = self.log.read_all("events", partition)
        return [record.decode(InboxMessage).definition_published.dag_id for record in records]


def settle(*loops: PartitionLoop) -> None:
    for _ in range(100):
        busy = [loop.step() for loop in loops]
        if not any(busy):
            return
    raise AssertionError("the loops find no rest")


def test_a_batch_becomes_outputs_and_an_offset():
    rig = Rig()
    rig.send("a", "b")
    loop = rig.loop()
    settle(loop)
    assert rig.events() == ["a=1", "b=2"]
    assert rig.log.committed_offset("group", "inbox", 0) == 2
    assert rig.machines[0].durable == [0, 1]
    assert [(s.partition, s.state, s.position, s.lag) for s in loop.status()] == [
        (0, "active", 2, 0),
        (1, "active", 0, 0),
    ]


def test_a_restarted_process_goes_on_where_the_last_one_ended():
    rig = Rig()
    rig.send("a", "b")
    first = rig.loop()
    settle(first)
    first.close()
    rig.send("c")
    settle(rig.loop())
    assert rig.events() == ["a=1", "b=2", "c=3"]


def test_an_aborted_transaction_is_decided_again_by_a_new_machine():
    rig = Rig()
    loop = rig.loop()
    rig.send("a")
    settle(loop)
    rig.failing = 2
    rig.send("b", "c")
    settle(loop)
    assert rig.events() == ["a=1", "b=2", "c=3"]
    assert rig.journal == ["restore 0: 0", "restore 1: 0", "restore 0: 1", "restore 0: 1"]


def test_a_fenced_partition_is_dropped_and_taken_back_if_it_still_belongs_here():
    rig = Rig()
    loop = rig.loop()
    settle(loop)
    rig.send("a")
    stranger = rig.log.transactional_producer("inbox-0")
    stranger.commit([rig.machines[0].event("stranger")])
    settle(loop)
    assert rig.events() == ["stranger", "a=2"]


def test_a_second_process_takes_its_share_and_gives_it_back():
    rig = Rig()
    one, two = rig.loop(), rig.loop()
    rig.send("a")
    rig.send("A", partition=1)
    settle(one)
    for _ in range(3):  # two joins, one gives up a partition, two takes it
        settle(one, two)
    assert [len(loop.status()) for loop in (one, two)] == [1, 1]
    rig.send("b")
    rig.send("B", partition=1)
    settle(one, two)
    two.close()
    rig.send("c")
    rig.send("C", partition=1)
    settle(one)
    assert rig.events(0) == ["a=1", "b=2", "c=3"]
    assert rig.events(1) == ["A=1", "B=2", "C=3"]


def test_timers_ring_without_records_and_time_never_goes_back():
    rig = Rig()
    loop = rig.loop()
    rig.send("alarm10")
    settle(loop)
    rig.clock.now = START + timedelta(seconds=9)
    settle(loop)
    assert rig.events() == ["alarm10=1"]
    rig.clock.now = START + timedelta(seconds=20)
    settle(loop)
    rig.clock.now = START + timedelta(seconds=5)
    rig.send("alarm15")
    settle(loop)
    assert rig.events() == ["alarm10=1", "rang 20", "alarm15=2", "rang 20"]


def test_what_can_not_be_read_is_dead_lettered_once_and_stops_nothing():
    rig = Rig()
    counted = REGISTRY.get_sample_value("spinner_dead_letters_total", {"topic": "inbox"}) or 0
    loop = rig.loop()
    rig.send("a")
    rig.log.producer("foreign").send(
        Outgoing("inbox", "x", None, 0, {"ce_type": "spinner.inbox.v1.InboxMessage", "who": "me"}, raw=b"\xff\xff")
    )
    rig.send("unwanted", "b")
    rig.failing = 1
    settle(loop)
    assert rig.events() == ["a=1", "b=2"]
    letters = list(rig.log.read_all("dead_letters", 0))
    assert [letter.key for letter in letters] == ["inbox/0/2", "inbox/0/1"]
    assert letters[1].value == b"\xff\xff"
    headers = letters[1].headers
    assert (headers["origin-topic"], headers["origin-partition"], headers["origin-offset"]) == ("inbox", "0", "1")
    assert (headers["origin-key"], headers["origin-who"]) == ("x", "me")
    assert "not a spinner.inbox.v1.InboxMessage" in headers["reason"]
    assert rig.poison[-1][0] == 1
    assert REGISTRY.get_sample_value("spinner_dead_letters_total", {"topic": "inbox"}) - counted >= 2


def test_a_bug_in_the_machine_ends_the_loop_and_commits_nothing():
    rig = Rig()
    loop = rig.loop()
    rig.send("a")
    settle(loop)
    rig.send("b", "bug")
    with pytest.raises(ZeroDivisionError):
        settle(loop)
    assert rig.events() == ["a=1"]
    assert rig.log.committed_offset("group", "inbox", 0) == 1


def test_outputs_carry_the_trace_of_their_input():
    rig = Rig()
    loop = rig.loop()
    settle(loop)
    rig.send("a", traceparent="00-aa-bb-01")
    settle(loop)
    rig.send("b", traceparent="00-aa-bb-01")
    rig.send("c", traceparent="00-cc-dd-01")
    settle(loop)
    traces = [record.headers.get("traceparent") for record in rig.log.read_all("events", 0)]
    assert traces == ["00-aa-bb-01", None, None]


def test_batches_are_bounded():
    rig = Rig()
    rig.send(*(f"r{number}" for number in range(10)))
    loop = rig.loop(max_batch=4)
    loop.step()
    sizes = []
    while loop.step():
        sizes.append(len(rig.events()))
    assert sizes == [4, 8, 10]


def test_what_can_wait_shares_the_transaction_of_what_cannot():
    rig = Rig()
    seen: list[str] = []

    def patience(record: Record) -> float:
        seen.append(record.key)
        if record.key == "later":
            rig.send("now")
        return 0.0 if record.key == "now" else 60.0

    loop = rig.loop(patience=patience)
    settle(loop)
    before = rig.commits
    rig.send("later")
    settle(loop)
    assert (rig.events(), rig.commits - before, seen) == (["later=1", "now=2"], 1, ["later", "now"])


def test_patience_ends():
    rig = Rig()
    loop = rig.loop(patience=lambda _record: 0.01)
    rig.send("later")
    settle(loop)
    assert rig.events() == ["later=1"]


def test_the_least_patient_record_says_when_all_are_decided():
    rig = Rig()

    def patience(record: Record) -> float:
        if record.key == "patient":
            rig.send("less")
        return 60.0 if record.key == "patient" else 0.01

    loop = rig.loop(patience=patience)
    settle(loop)
    before = rig.commits
    rig.send("patient")
    settle(loop)
    assert (rig.events(), rig.commits - before) == (["patient=1", "less=2"], 1)


def test_a_full_batch_waits_for_nobody():
    rig = Rig()
    loop = rig.loop(max_batch=2, patience=lambda _record: 60.0)
    rig.send("a", "b")
    settle(loop)
    assert rig.events() == ["a=1", "b=2"]


def overlapping(quiet: bool = False) -> tuple[Rig, PartitionLoop]:
    """A loop with four inputs, one a batch, whose commits wait for `may_commit`."""
    rig = Rig()
    rig.machine_type = type("Machine", (Overlapping,), {"quiet": quiet})
    loop = rig.loop(overlap=True, max_batch=1)
    settle(loop)
    rig.journal.clear()
    rig.may_commit.clear()
    rig.send("a", "b", "c", "d")
    return rig, loop


def test_with_a_backlog_it_decides_during_a_commit():
    rig, loop = overlapping()
    for _ in range(3):
        loop.step()
    assert rig.journal == ["decided 1", "decided 1", "decided 1"]
    assert rig.events() == []
    rig.may_commit.set()
    settle(loop)
    assert rig.events() == ["a=1", "b=2", "c=3", "d=4"]
    assert rig.journal.count("durable 1") == 4
    # What was decided during the first commit made up the second.
    assert rig.commits == 2
    assert rig.machines[0].durable == [0, 2, 3, 4]  # each transaction ends with a marker
    assert rig.log.committed_offset("group", "inbox", 0) == 4


def test_a_machine_that_needs_quiet_sees_everything_durable():
    rig, loop = overlapping(quiet=True)
    rig.may_commit.set()
    settle(loop)
    assert rig.journal == ["decided 1", "durable 1"] * 4


def test_when_a_transaction_in_flight_fails_what_was_decided_on_top_is_decided_again():
    rig, loop = overlapping()
    rig.failing = 1
    for _ in range(3):
        loop.step()
    rig.may_commit.set()
    settle(loop)
    assert len(rig.machines) == 3  # one a partition, and the one made anew
    assert rig.events() == ["a=1", "b=2", "c=3", "d=4"]


def test_closing_waits_for_the_transaction_in_flight():
    rig, loop = overlapping()
    loop.step()
    threading.Timer(0.05, rig.may_commit.set).start()
    loop.close()
    assert rig.events() == ["a=1"]
    assert rig.log.committed_offset("group", "inbox", 0) == 1
