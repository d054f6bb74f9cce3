"""Recovery passes over what others put on the scheduler's topics."""

from __future__ import annotations

from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.memory import MemoryLog
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_scheduler.adapters.recovery import restore
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.state import Address, PartitionState


def test_unreadable_and_empty_records_stop_no_recovery():
    log = MemoryLog()
    events, snapshots = topics.events_topic("spinner", 1), topics.snapshots_topic("spinner", 1)
    log.create_topic(events, 1)
    log.create_topic(snapshots, 1)
    paused = WorkflowEvents(dag_id="kept")
    paused.events.add().dag_updated.paused = True
    producer = log.producer("anyone")
    for topic in (snapshots, events):
        producer.send(Outgoing(topic, "dag:foreign", None, partition=0, raw=b"\xff\xff not ours"))
    producer.send(Outgoing(events, "empty", WorkflowEvents(), partition=0))
    producer.send(Outgoing(events, "kept", paused, partition=0))
    producer.flush()
    state = PartitionState(Layouts(lambda *_: None), Address(topics.inbox_topic("spinner", 1), 0))
    restored = restore(state, log, snapshots, events, 0)
    assert restored.next_offset == 3
    assert list(state.dags) == ["kept"]
    assert state.dags["kept"].updated.paused
