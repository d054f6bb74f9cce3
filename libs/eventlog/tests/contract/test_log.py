"""What both event logs promise."""

from __future__ import annotations

import random
import threading

import pytest
from spinner_eventlog.interface import (
    Fenced,
    GroupConsumer,
    Outgoing,
    Poison,
    Record,
    RecordTooLarge,
    Transient,
    partition_for,
)
from spinner_proto.inbox.v1.inbox_pb2 import DefinitionPublished, InboxMessage
from spinner_proto.portal.v1.portal_pb2 import Pool


def message(text: str) -> InboxMessage:
    return InboxMessage(definition_published=DefinitionPublished(dag_id=text, version="1"))


def texts(records: list[Record]) -> list[str]:
    return [record.decode(InboxMessage).definition_published.dag_id for record in records]


def out(topic: str, text: str, partition: int | None = 0, **more) -> Outgoing:
    return Outgoing(topic, text, message(text), partition, **more)


def stored(log, topic: str, partition: int = 0) -> list[str]:
    return texts([record for record in log.read_all(topic, partition) if record.value is not None])


def test_records_come_back_whole_and_in_order(world, wait_for):
    topic, log = world.topic("plain"), world.log()
    delivered: dict[int, int] = {}
    producer = log.producer("p")
    for number in range(50):
        producer.send(
            out(topic, f"r{number}", headers={"spinner-dag-id": "ü"}),
            lambda error, offset, number=number: delivered.__setitem__(number, offset),
        )
    producer.flush()
    wait_for(lambda: len(delivered) == 50)
    records = list(log.read_all(topic, 0))
    assert texts(records) == [f"r{number}" for number in range(50)]
    assert [record.offset for record in records] == [delivered[number] for number in range(50)]
    first = records[0]
    assert (first.topic, first.partition, first.key) == (topic, 0, "r0")
    assert first.headers["spinner-dag-id"] == "ü"
    assert first.headers["ce_type"] == "spinner.inbox.v1.InboxMessage"
    assert first.headers["ce_specversion"] == "1.0"
    assert first.headers["ce_source"].startswith("spinner/")
    assert first.headers["ce_time"].endswith("Z")
    assert len({record.headers["ce_id"] for record in records}) == 50
    assert log.end_offset(topic, 0) == 50
    assert texts(list(log.read_all(topic, 0, 48))) == ["r48", "r49"]


def test_large_values_are_compressed_on_the_way(world):
    topic, log = world.topic("large"), world.log()
    text = "spin " * 1_000_000  # 5 MB, over the topic's limit as it is
    producer = log.producer("p")
    producer.send(Outgoing(topic, "k", message(text)))
    producer.flush()
    (record,) = log.read_all(topic, 0)
    assert record.decode(InboxMessage).definition_published.dag_id == text
    assert "content-encoding" not in record.headers


def test_what_is_too_large_is_refused_before_anything_is_written(world, wait_for):
    topic, log = world.topic("small"), world.log()
    noise = random.Random(1).randbytes(1_100_000).hex()
    too_large = Outgoing(topic, "big", message(noise), 0)
    with pytest.raises(RecordTooLarge, match=r"small.*1,048,576"):
        log.producer("p").send(too_large)
    writer = log.transactional_producer("w")
    with pytest.raises(RecordTooLarge):
        writer.commit([out(topic, "first"), too_large])
    writer.commit([out(topic, "second")])
    wait_for(lambda: stored(log, topic))
    assert stored(log, topic) == ["second"]


def test_what_is_sent_together_arrives_in_order_and_each_hears_of_its_own(world):
    topic, log = world.topic("small"), world.log()
    told: list[tuple[str, object]] = []
    lock = threading.Lock()

    def teller(name: str):
        def tell(error: Exception | None, offset: int) -> None:
            with lock:
                told.append((name, offset if error is None else type(error)))

        return tell

    large = out(topic, random.Random(1).randbytes(1_100_000).hex())
    producer = log.producer("test")
    names = ["a", "b", "c"]
    producer.send_together([(out(topic, name), teller(name)) for name in names[:2]] + [(large, teller("large"))])
    producer.send_together([(out(topic, "c"), teller("c"))])
    producer.send_together([])
    producer.flush()
    assert stored(log, topic) == names
    assert sorted(told, key=str) == [("a", 0), ("b", 1), ("c", 2), ("large", RecordTooLarge)]


def test_keys_find_kafkas_default_partition(world):
    topic, log = world.topic("spread", 7), world.log()
    producer = log.producer("p")
    for number in range(100):
        producer.send(out(topic, f"key-{number}", None))
    producer.flush()
    assert log.partition_count(topic) == 7
    for partition in range(7):
        wanted = [f"key-{number}" for number in range(100) if partition_for(f"key-{number}", 7) == partition]
        assert stored(log, topic, partition) == wanted


def test_a_transaction_is_visible_whole_with_its_offsets(world, wait_for):
    one, two, log = world.topic("one"), world.topic("two"), world.log()
    group = log.group_consumer("g", [one])
    writer = log.transactional_producer("w")
    offsets = writer.commit([out(one, "a"), out(two, "b"), out(one, "c")], {(one, 0): 41}, group)
    wait_for(lambda: stored(log, one) == ["a", "c"] and stored(log, two) == ["b"])
    assert [record.offset for record in log.read_all(one, 0)] == [offsets[0], offsets[2]]
    assert [record.offset for record in log.read_all(two, 0)] == [offsets[1]]
    assert group.committed(one, 0) == 41
    writer.commit([], {(one, 0): 42}, group)
    assert group.committed(one, 0) == 42


def test_an_aborted_transaction_leaves_nothing_and_the_writer_goes_on(world, wait_for):
    topic, log = world.topic("aborted"), world.log()
    group = log.group_consumer("g", [topic])
    writer = log.transactional_producer("w")
    with pytest.raises(Transient):
        writer.commit([out(topic, "lost"), out(topic, "x", 99)], {(topic, 0): 7}, group)
    assert group.committed(topic, 0) is None
    writer.commit([out(topic, "kept")])
    wait_for(lambda: stored(log, topic) == ["kept"])


def test_a_new_writer_fences_the_old_one(world, wait_for):
    topic, log = world.topic("fenced"), world.log()
    old = log.transactional_producer("name")
    old.commit([out(topic, "old")])
    other = world.log().transactional_producer("another name")
    new = world.log().transactional_producer("name")
    for _ in range(2):  # and it stays fenced
        with pytest.raises(Fenced):
            old.commit([out(topic, "zombie")])
    new.commit([out(topic, "new")])
    other.commit([out(topic, "other")])
    wait_for(lambda: stored(log, topic) == ["old", "new", "other"])


def read(log, topic: str, uncommitted: bool = False) -> list[str]:
    return [record.key for record in log.read_all(topic, 0, uncommitted=uncommitted)]


def test_what_was_appended_is_there_at_once_and_committed_later(world, wait_for):
    topic, log = world.topic("ahead"), world.log()
    writer = log.transactional_producer("w")
    offsets = writer.append([out(topic, "a"), out(topic, "b")]) + writer.append([out(topic, "c")])
    assert offsets == [0, 1, 2]
    assert read(world.log(), topic, uncommitted=True) == ["a", "b", "c"]
    assert read(log, topic) == [] == list(log.read_compacted(topic, 0))
    other = log.transactional_producer("other")
    other.commit([out(topic, "behind")])
    assert read(log, topic) == []
    # A broker may write the marker of the other's commit before it or after it.
    assert writer.commit([out(topic, "d")])[0] in (4, 5)
    wait_for(lambda: read(log, topic) == ["a", "b", "c", "behind", "d"])
    writer.append([out(topic, "e")])
    writer.commit([])
    wait_for(lambda: read(log, topic)[-1] == "e")


def test_a_fence_aborts_what_was_appended_and_leaves_it_for_the_new_owner_to_read(world, wait_for):
    topic, log = world.topic("fenced_ahead"), world.log()
    old = log.transactional_producer("name")
    old.append([out(topic, "old")])
    new = world.log().transactional_producer("name")
    for _ in range(2):
        with pytest.raises(Fenced):
            old.append([out(topic, "zombie")])
    assert read(log, topic, uncommitted=True) == ["old"]
    new.append([out(topic, "new")])
    new.commit([])
    wait_for(lambda: read(log, topic) == ["new"])
    assert read(log, topic, uncommitted=True) == ["old", "new"]


def test_an_idle_owner_that_was_fenced_appends_nothing(world):
    topic, log = world.topic("fenced_idle"), world.log()
    old = log.transactional_producer("name")
    old.append([out(topic, "old")])
    old.commit([])
    world.log().transactional_producer("name")
    with pytest.raises(Fenced):
        old.append([out(topic, "zombie")])
    assert read(log, topic, uncommitted=True) == ["old"]


def test_an_abort_takes_all_appended_with_it_and_the_writer_goes_on(world, wait_for):
    topic, log = world.topic("aborted_ahead"), world.log()
    writer = log.transactional_producer("w")
    writer.append([out(topic, "lost")])
    with pytest.raises(Transient):
        writer.append([out(topic, "x", 99)])
    writer.append([out(topic, "kept")])
    writer.commit([])
    wait_for(lambda: read(log, topic) == ["kept"])
    assert read(log, topic, uncommitted=True) == ["lost", "kept"]


def test_the_latest_of_every_key_without_tombstones(world):
    topic, log = world.topic("compacted", compact=True), world.log()
    producer = log.producer("p")
    for key, value in [("a", "1"), ("b", "1"), ("a", "2"), ("b", None), ("c", "1"), ("c", None), ("c", "3")]:
        producer.send(Outgoing(topic, key, None if value is None else message(value), 0))
    producer.flush()
    latest = log.read_compacted(topic, 0)
    assert {key: record.decode(InboxMessage).definition_published.dag_id for key, record in latest.items()} == {
        "a": "2",
        "c": "3",
    }
    assert sum(record.value is None for record in log.read_all(topic, 0)) == 2


def test_readers_follow_positions(world):
    topic, log = world.topic("read", 2), world.log()
    producer = log.producer("p")
    for number in range(10):
        producer.send(out(topic, f"{number}", number % 2))
    producer.flush()
    reader = log.reader([(topic, 0), (topic, 1)], {(topic, 1): 3})
    latest = log.reader([(topic, 0)], "latest")
    seen: list[Record] = []
    while not reader.at_end():
        seen += reader.poll(3, 1.0)
    assert sorted(texts(seen)) == ["0", "2", "4", "6", "7", "8", "9"]
    assert reader.position(topic, 1) == 5
    producer.send(out(topic, "later"))
    producer.flush()
    assert texts(_poll(latest, 1)) == ["later"]
    assert texts(_poll(reader, 1)) == ["later"]
    reader.seek(topic, 0, 1)
    assert texts(_poll(reader, 5)) == ["2", "4", "6", "8", "later"]
    assert reader.poll(10, 0.01) == []


def test_readers_reach_the_end_of_what_transactions_wrote(world):
    topic, log = world.topic("markers"), world.log()
    writer = log.transactional_producer("w")
    for number in range(5):
        writer.commit([out(topic, f"{number}")])
    reader = log.reader([(topic, 0)])
    assert texts(_poll(reader, 5)) == ["0", "1", "2", "3", "4"]
    for _ in range(50):
        if reader.at_end():
            break
        assert reader.poll(10, 0.2) == []
    assert reader.at_end()
    assert reader.position(topic, 0) == log.end_offset(topic, 0)


def test_two_members_share_a_group_and_hand_over(world, wait_for):
    topic, log = world.topic("shared", 4), world.log()
    owned: dict[str, set[int]] = {"a": set(), "b": set()}
    threads = {name: set() for name in owned}

    def member(name: str) -> GroupConsumer:
        def assigned(partitions: list[tuple[str, int]]) -> None:
            threads[name].add(threading.get_ident())
            owned[name].update(number for _, number in partitions)

        def revoked(partitions: list[tuple[str, int]]) -> None:
            owned[name].difference_update(number for _, number in partitions)

        return world.log().group_consumer("g", [topic], assigned, revoked)

    producer = log.producer("p")
    seen: dict[str, list[str]] = {"a": [], "b": []}
    members = {"a": member("a")}

    def turn() -> None:
        for name, consumer in members.items():
            records = consumer.poll(10, 0.05)
            assert {record.partition for record in records} <= owned[name]
            seen[name] += texts(records)
            consumer.commit({(record.topic, record.partition): record.offset + 1 for record in records})

    def turns_until(condition) -> None:
        def attempt() -> bool:
            turn()
            return condition()

        wait_for(attempt)

    turns_until(lambda: owned["a"] == {0, 1, 2, 3})
    for number in range(4):
        producer.send(out(topic, f"first-{number}", number))
    turns_until(lambda: len(seen["a"]) == 4)
    members["b"] = member("b")
    turns_until(lambda: len(owned["a"]) == 2 and len(owned["b"]) == 2)
    assert owned["a"] | owned["b"] == {0, 1, 2, 3}
    for number in range(4):
        producer.send(out(topic, f"second-{number}", number))
    turns_until(lambda: len(seen["a"]) + len(seen["b"]) == 8)
    assert sorted(seen["a"] + seen["b"]) == sorted(f"{when}-{n}" for when in ("first", "second") for n in range(4))
    members.pop("b").close()
    assert owned["b"] == set()
    turns_until(lambda: owned["a"] == {0, 1, 2, 3})
    for number in range(4):
        producer.send(out(topic, f"third-{number}", number))
    turns_until(lambda: sum(text.startswith("third") for text in seen["a"]) == 4)
    assert threads["a"] == {threading.get_ident()}


def test_a_new_member_goes_on_from_the_committed_offset(world, wait_for):
    topic, log = world.topic("resumed"), world.log()
    producer = log.producer("p")
    for number in range(6):
        producer.send(out(topic, f"{number}"))
    producer.flush()
    first = world.log().group_consumer("g", [topic])
    assert texts(_poll(first, 6)) == ["0", "1", "2", "3", "4", "5"]
    first.commit({(topic, 0): 4})
    first.close()
    second = world.log().group_consumer("g", [topic])
    assert texts(_poll(second, 2)) == ["4", "5"]
    second.seek(topic, 0, 2)
    assert texts(_poll(second, 4)) == ["2", "3", "4", "5"]
    second.pause(topic, 0)
    producer.send(out(topic, "6"))
    producer.flush()
    assert second.poll(10, 0.3) == []
    second.resume(topic, 0)
    assert texts(_poll(second, 1)) == ["6"]


@pytest.mark.parametrize(
    ("outgoing", "reason"),
    [
        (lambda topic: Outgoing(topic, "k", None, 0), "tombstone"),
        (lambda topic: Outgoing(topic, "k", Pool(name="p"), 0), "type spinner.portal.v1.Pool"),
        (lambda topic: Outgoing(topic, "k", None, 0, raw=b"\xff\xfe\xfd"), "not a spinner.inbox"),
        (
            lambda topic: Outgoing(topic, "k", None, 0, {"content-encoding": "zstd"}, raw=b"no frame"),
            "content-encoding",
        ),
        (lambda topic: Outgoing(topic, "k", None, 0, {"content-encoding": "br"}, raw=b"other"), "content-encoding br"),
    ],
)
def test_what_can_not_be_read_is_poison_with_its_place(world, outgoing, reason):
    topic, log = world.topic("poison"), world.log()
    producer = log.producer("p")
    producer.send(outgoing(topic))
    producer.flush()
    (record,) = log.read_all(topic, 0)
    with pytest.raises(Poison, match=reason) as raised:
        record.decode(InboxMessage)
    assert (raised.value.topic, raised.value.partition, raised.value.offset) == (topic, 0, 0)


def test_an_unknown_topic_is_named(world):
    with pytest.raises(Transient, match=r"nowhere.*create"):
        world.log().partition_count("nowhere")


def _poll(reader, count: int) -> list[Record]:
    records: list[Record] = []
    for _ in range(100):
        records += reader.poll(1000, 0.2)
        if len(records) >= count:
            break
    return records
