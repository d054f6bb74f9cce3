"""Records are shown whatever they hold."""

from __future__ import annotations

from spinner_cli.events import actual_topics, decoded
from spinner_eventlog.interface import Record
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord


def record(value: bytes | None, type_name: str) -> Record:
    return Record("workflow_job_executions", 0, 7, 1, "etl", value, {"ce_type": type_name})


def test_a_message_is_decoded_by_its_type() -> None:
    message = JobExecutionRecord(workflow_name="etl", try_number=2)
    shown = decoded(record(message.SerializeToString(), message.DESCRIPTOR.full_name))
    assert shown["value"] == {"workflow_name": "etl", "try_number": 2}
    assert (shown["topic"], shown["offset"], shown["key"]) == ("workflow_job_executions", 7, "etl")


def test_what_cant_be_decoded_is_shown_as_bytes() -> None:
    for type_name in ("", "spinner.nothing.v1.Nothing", "spinner.executions.v1.JobExecutionRecord", "a.b.c.d"):
        assert decoded(record(b"\xff\xfe", type_name))["bytes"] == "//4="


def test_a_tombstone_has_no_value() -> None:
    shown = decoded(record(None, ""))
    assert shown["tombstone"] is True
    assert "value" not in shown


def test_a_base_name_stands_for_all_its_cells() -> None:
    assert actual_topics(["workflow_events"]) == [f"workflow_events-spinner_tier_{tier}" for tier in (1, 2, 3)]
    assert actual_topics(["audit_events", "some-topic"]) == ["audit_events", "some-topic"]
