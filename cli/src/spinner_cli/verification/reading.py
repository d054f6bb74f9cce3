"""Reads an installation's topics once, all together in the order of their times."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence

from spinner_eventlog import topics
from spinner_eventlog.interface import EventLog, Record, TopicPartition

from spinner_cli.verification.checker import Checker
from spinner_cli.verification.findings import Findings

# Given an inbox: the next offset that its schedulers will read, as they committed it.
Committed = Callable[[str, str, int], int | None]


def verify(
    log: EventLog, committed: Committed, cluster: str, tiers: Sequence[int], ended: bool = False, most: int = 100
) -> Findings:
    """Reads everything and returns what was found. Raises Transient when the broker goes away.

    `committed(group, topic, partition)`: a group's offset. `ended`: all runs should have ended by now.
    """
    checker = Checker(Findings(most))
    for record in _all(log, _partitions(log, ["workflow_definitions"])):
        checker.take(record)
    written = _partitions(log, ["workflow_job_executions", topics.orders_topic(cluster), topics.grants_topic(cluster)])
    inboxes = _partitions(log, [topics.inbox_topic(cluster, tier) for tier in tiers])
    events = _partitions(log, [topics.events_topic(cluster, tier) for tier in tiers])
    handled = {
        (topic, partition): committed(f"scheduler-{topic.partition('-')[2]}", topic, partition) or 0
        for topic, partition in inboxes
    }
    # What is written together is seen together: halves are looked for only among what was there before the events.
    before = _ends(log, written) | _ends(log, inboxes)
    until = _ends(log, events)
    for record in _all(log, [*events, *written, *inboxes], until | _ends(log, written) | before_of(before, inboxes)):
        checker.take(record)
    checker.finish(before, handled, ended)
    return checker.findings


def before_of(ends: dict[TopicPartition, int], partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """The ends of these partitions."""
    return {at: ends[at] for at in partitions}


def _partitions(log: EventLog, names: Sequence[str]) -> list[TopicPartition]:
    return [(name, partition) for name in names for partition in range(log.partition_count(name))]


def _ends(log: EventLog, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    return {at: log.end_offset(*at) for at in partitions}


def _all(
    log: EventLog, partitions: Sequence[TopicPartition], until: dict[TopicPartition, int] | None = None
) -> Iterator[Record]:
    def one(at: TopicPartition) -> Iterator[Record]:
        # A grant counts once it is written, whether its transaction commits or not (decision record 3).
        for record in log.read_all(*at, uncommitted=topics.declared(at[0]) == topics.registry()["task_grants"]):
            if until is not None and record.offset >= until[at]:
                return
            yield record

    yield from heapq.merge(*(one(at) for at in partitions), key=lambda record: record.time_ms)
