"""Records of the other topics → rows. Each record is the whole of its key; a tombstone removes it. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.diagnoses.v1 import diagnoses_pb2
from spinner_proto.executions.v1 import executions_pb2
from spinner_proto.portal.v1 import portal_pb2
from spinner_proto.scheduler.v1 import scheduler_pb2
from spinner_proto.usage.v1 import usage_pb2

from spinner_webgateway.domain import asset_rows, words
from spinner_webgateway.domain.compression import compress
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.unreadable import Unreadable, check_id
from spinner_webgateway.domain.words import clip


def definition_key(key: str) -> tuple[str, str]:
    """Returns dag id and version of a definition's key; raises Unreadable."""
    dag_id, separator, version = key.rpartition("@")
    if not separator:
        raise Unreadable(f"key {key[:80]!r} is not dag_id@version")
    return check_id("dag id", dag_id), check_id("version", version)


def definition(message: definitions_pb2.DagDefinition) -> Row:
    return {
        "dag_id": check_id("dag id", message.dag_id),
        "version": check_id("version", message.version),
        "parsed_time": words.micros(message.parsed_time) or 0,
        "bundle": clip(message.bundle.name, 250),
        "bundle_version": clip(message.bundle.version, 250),
        "relative_path": clip(message.relative_path, 1000),
        "schedule": clip(message.schedule.text, 500),
        "schedule_text": clip(words.schedule_text(message.schedule), 500),
        "owner": clip(message.owner, 250),
        "project": clip(message.project, 250),
        "tier": message.tier or message.placement.tier,
        "cluster": message.placement.cluster,
        "partition": message.placement.partition,
        "tags": list(message.tags),
        "tags_text": clip("," + ",".join(message.tags) + ",", 1000),
        "description": clip(message.description),
        "dynamic": message.dynamic,
        "dynamic_source_version": message.dynamic_source_version,
        "runtime": message.runtime or "spinner",
        "task_count": len(message.tasks),
        "uses_assets": asset_rows.uses_assets(message),
        "content": compress(message.SerializeToString(deterministic=True)),
    }


def error_key(key: str) -> str:
    """Returns a key that fits an index: long ones are folded."""
    return key if len(key) <= 500 else f"{key[:400]}…{hashlib.sha256(key.encode()).hexdigest()}"


def parse_error(key: str, message: definitions_pb2.ParseError) -> Row:
    findings = [
        {
            "check_id": finding.check_id,
            "severity": "error" if finding.severity == definitions_pb2.SEVERITY_ERROR else "warning",
            "message": finding.message,
            "fix": finding.fix,
            "dag_id": finding.dag_id,
            "task_id": finding.task_id,
            "line": finding.line,
        }
        for finding in message.findings
    ]
    if key != f"{message.bundle}/{message.relative_path}":
        raise Unreadable(f"key {key[:80]!r} is not that of the error's bundle and file")
    return {
        "error_key": error_key(key),
        "bundle": clip(message.bundle, 250),
        "relative_path": clip(message.relative_path, 1000),
        "bundle_version": clip(message.bundle_version, 250),
        "error_type": clip(message.error_type, 250),
        "message": message.message,
        "stack_trace": message.stack_trace,
        "line": message.line,
        "source_line": message.source_line,
        "fix": message.fix,
        "dag_ids": list(message.dag_ids),
        "detected_time": words.micros(message.detected_time) or 0,
        "last_updated_time": words.micros(message.last_updated_time) or words.micros(message.detected_time) or 0,
        "findings": findings,
    }


def parse_error_ended(key: str, message: definitions_pb2.ParseErrorEnded) -> Row:
    return {**parse_error(key, message.error), "end_time": words.micros(message.end_time) or 0}


def try_key(key: str) -> tuple[str, str, str, int, int]:
    """Returns the parts of a try key's text; raises Unreadable."""
    parts = key.split("/")
    try:
        dag_id, run_id, task_id, map_index, try_number = parts
        return dag_id, run_id, task_id, int(map_index), int(try_number)
    except ValueError as error:
        raise Unreadable(f"key {key[:80]!r} is not dag_id/run_id/task_id/map_index/try_number") from error


def diagnosis(message: diagnoses_pb2.FailureDiagnosis) -> Row:
    key = message.try_key
    return {
        "dag_id": check_id("dag id", key.dag_id),
        "run_id": check_id("run id", key.run_id),
        "task_id": check_id("task id", key.task_id),
        "map_index": key.map_index,
        "try_number": key.try_number,
        "category": clip(message.category, 100),
        "title": clip(message.title, 500),
        "owner": clip(message.owner, 100),
        "confidence": message.confidence,
        "stage": words.STAGE_NAMES.get(message.stage, ""),
        "evidence": [{"line": line.line, "text": clip(line.text, 2000)} for line in message.evidence],
        "how_to_fix": message.how_to_fix,
        "rule_id": clip(message.rule_id, 250),
        "fingerprint": clip(message.fingerprint, 250),
        "time": words.micros(message.time) or 0,
    }


def execution(message: executions_pb2.JobExecutionRecord) -> Row:
    return {
        "dag_id": check_id("workflow name", message.workflow_name),
        "run_id": check_id("instance id", message.instance_id),
        "task_id": check_id("job name", message.job_name),
        "map_index": message.map_index,
        "try_number": message.try_number,
        "status": clip(message.status, 40),
        "outcome": words.outcome(message.outcome),
        "start_time": words.micros(message.start_time),
        "end_time": words.micros(message.end_time),
        "project": clip(message.project, 250),
        "tier": message.tier,
        "operator": clip(message.operator, 250),
        "peak_memory_bytes": message.peak_memory_bytes,
        "cpu_seconds": message.cpu_seconds,
    }


def audit(message: portal_pb2.AuditEvent) -> Row:
    return {
        "event_id": check_id("event id", message.event_id),
        "time": words.micros(message.time) or 0,
        "actor": clip(message.actor.name, 250),
        "via": clip(message.actor.via, 100),
        "action": clip(message.action, 100),
        "subject": clip(message.subject, 520),
        "result": clip(message.result, 40),
        "details": _json_object(message.details_json),
        "request_id": clip(message.request_id, 250),
    }


def task_key(key: str) -> tuple[str, str]:
    """Returns dag id and task id of a key; raises Unreadable."""
    dag_id, separator, task_id = key.partition("/")
    if not separator:
        raise Unreadable(f"key {key[:80]!r} is not dag_id/task_id")
    return check_id("dag id", dag_id), check_id("task id", task_id)


def task_usage(message: usage_pb2.TaskUsage) -> Row:
    return {
        "dag_id": check_id("dag id", message.dag_id),
        "task_id": check_id("task id", message.task_id),
        "samples": [
            {
                "time": words.micros(sample.end_time) or 0,
                "peak_memory_bytes": sample.peak_memory_bytes,
                "cpu_seconds": sample.cpu_seconds,
                "out_of_memory": sample.out_of_memory,
            }
            for sample in message.samples
        ],
        "configured_request_bytes": message.configured_request_bytes,
        "configured_limit_bytes": message.configured_limit_bytes,
        "learned_request_bytes": message.learned_request_bytes,
        "raised_limit_bytes": message.raised_limit_bytes,
        "next_request_bytes": message.next_request_bytes,
        "next_limit_bytes": message.next_limit_bytes,
        "next_source": clip(message.next_source, 20),
        "time": words.micros(message.time) or 0,
    }


def task_resources(message: usage_pb2.TaskResources) -> Row:
    return {
        "dag_id": check_id("dag id", message.dag_id),
        "task_id": check_id("task id", message.task_id),
        "memory_request_bytes": message.memory_request_bytes,
        "memory_limit_bytes": message.memory_limit_bytes,
        "reset_time": words.micros(message.reset_time),
        "time": words.micros(message.time) or 0,
        "actor": clip(message.actor.name, 250),
    }


def pool(message: portal_pb2.Pool) -> Row:
    return {
        "name": _name("pool", message.name),
        "slots": message.slots,
        "include_deferred": message.include_deferred,
        "description": message.description,
    }


def variable(message: portal_pb2.Variable) -> Row:
    return {
        "name": _name("variable", message.name),
        "value": message.value,
        "encrypted": message.encrypted,
        "description": message.description,
    }


def connection(message: portal_pb2.Connection) -> Row:
    return {
        "connection_id": _name("connection", message.connection_id),
        "type": clip(message.type, 100),
        "host": message.host,
        "port": message.port,
        "schema": message.schema,
        "login": message.login,
        "encrypted_password": message.encrypted_password,
        "encrypted_extra": message.encrypted_extra,
        "description": message.description,
    }


def portal(message: portal_pb2.PortalEvent) -> Row:
    return {
        "subject": _name("subject", message.subject),
        "kind": clip(message.kind, 100),
        "value": message.value_json,
        "time": words.micros(message.time) or 0,
        "actor": clip(message.actor.name, 250),
    }


def partition_owner(message: scheduler_pb2.PartitionOwner) -> Row:
    return {
        "name": check_id("partition", message.name),
        "address": clip(message.address, 250),
        "time": words.micros(message.time) or 0,
    }


def _name(what: str, value: str) -> str:
    if not 0 < len(value) <= 250:
        raise Unreadable(f"{what} {value[:60]!r} is not 1 to 250 characters")
    return value


def _json_object(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"text": clip(text)}
    return value if isinstance(value, dict) else {"value": value}
