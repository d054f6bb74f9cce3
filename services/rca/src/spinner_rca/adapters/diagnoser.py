"""One failed try in, one diagnosis out, written before the record counts as read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from prometheus_client import Counter, Histogram
from spinner_eventlog.dead_letter import dead_letter
from spinner_eventlog.interface import EventLog, Outgoing, Poison, Record, Transient
from spinner_objectstore import ObjectStore, Unavailable
from spinner_proto.common.v1 import common_pb2
from spinner_proto.diagnoses.v1 import diagnoses_pb2
from spinner_proto.executions.v1 import executions_pb2
from spinner_servicekit.logs import logger

from spinner_rca.adapters.logs import read_end
from spinner_rca.domain.classifier import Failure, Verdict, classify
from spinner_rca.domain.rules import Rules
from spinner_rca.domain.section import failed_section

FAILED = frozenset({"failed", "up_for_retry"})
RETRY_SECONDS = (0.2, 1.0, 5.0, 15.0)
STORE_TRIES = 4
"""After these the try is diagnosed without its log rather than holding up all others."""
STAGES = {
    common_pb2.STAGE_QUEUE: "QueueStage",
    common_pb2.STAGE_LAUNCH: "LaunchStage",
    common_pb2.STAGE_READINESS: "ReadinessStage",
    common_pb2.STAGE_PARSE: "ParseStage",
    common_pb2.STAGE_TASK_EXEC: "TaskExecStage",
    common_pb2.STAGE_CALLBACK: "CallbackStage",
    common_pb2.STAGE_LOG_UPLOAD: "LogUploadStage",
}

_log = logger("spinner.rca")
_diagnosed = Counter("spinner_rca_diagnoses_total", "Diagnoses written", ["category"])
_seconds = Histogram("spinner_rca_diagnosis_seconds", "Time to diagnose one failed try")


def outcome_name(value: int) -> str:
    """Returns for example "out_of_memory"; "" for none."""
    if value not in common_pb2.Outcome.values() or value == common_pb2.OUTCOME_UNSPECIFIED:
        return ""
    name: str = common_pb2.Outcome.Name(value)  # type: ignore[arg-type]
    return name.removeprefix("OUTCOME_").lower()


def diagnosis_message(
    verdict: Verdict, rules: Rules, key: common_pb2.TryKey | None = None, stage: int = 0
) -> diagnoses_pb2.FailureDiagnosis:
    """Returns the verdict as the contract has it."""
    message = diagnoses_pb2.FailureDiagnosis(
        stage=stage,  # type: ignore[arg-type]
        category=verdict.rule.category,
        title=verdict.rule.title,
        owner=verdict.rule.owner,
        confidence=verdict.confidence,
        evidence=[diagnoses_pb2.EvidenceLine(line=e.line, text=e.text) for e in verdict.evidence],
        how_to_fix=verdict.rule.how_to_fix,
        rule_id=verdict.rule.id,
        rules_version=rules.version,
        fingerprint=verdict.fingerprint,
    )
    if key is not None:
        message.try_key.CopyFrom(key)
    return message


class Diagnoser:
    """Handles records of workflow_job_executions; a record handled twice writes the same key twice."""

    def __init__(self, log: EventLog, store: ObjectStore, rules: Rules, log_tail_bytes: int) -> None:
        self._producer = log.producer("rca")
        self._store = store
        self._rules = rules
        self._log_tail_bytes = log_tail_bytes

    async def handle(self, record: Record) -> None:
        """Returns when the diagnosis, if the try failed, is durable. Waits for a broker that is away."""
        try:
            execution = record.decode(executions_pb2.JobExecutionRecord)
            if not (execution.workflow_name and execution.instance_id and execution.job_name):
                raise Poison(record.topic, record.partition, record.offset, "the try has no key")
        except Poison as poison:
            await self._write(self._letter(record, poison.reason))
            return
        if execution.status in FAILED:
            with _seconds.time():
                outgoing = await asyncio.to_thread(self._diagnose, execution)
            await self._write(outgoing)

    def _diagnose(self, execution: executions_pb2.JobExecutionRecord) -> Outgoing:
        key = common_pb2.TryKey(
            dag_id=execution.workflow_name,
            run_id=execution.instance_id,
            task_id=execution.job_name,
            map_index=execution.map_index,
            try_number=execution.try_number,
        )
        text, first_line = self._log_of(execution)
        failure = Failure(
            outcome=outcome_name(execution.outcome),
            message=execution.message,
            exception_classes=tuple(execution.exception_classes),
            log=text,
            first_line=first_line,
        )
        verdict = classify(failure, self._rules)
        message = diagnosis_message(verdict, self._rules, key, execution.failed_stage)
        message.time.FromDatetime(datetime.now(UTC))
        _diagnosed.labels(verdict.rule.category).inc()
        text_key = f"{key.dag_id}/{key.run_id}/{key.task_id}/{key.map_index}/{key.try_number}"
        return Outgoing("failure_diagnoses", text_key, message)

    def _log_of(self, execution: executions_pb2.JobExecutionRecord) -> tuple[str, int]:
        for attempt in range(STORE_TRIES):
            try:
                end = read_end(self._store, execution.log_key, self._log_tail_bytes)
                break
            except Unavailable as error:
                _log.warning("log_unavailable", key=execution.log_key, attempt=attempt + 1, error=str(error))
        else:
            end = None
        if end is None:
            return "", 1
        return failed_section(end.text, end.first_line, STAGES.get(execution.failed_stage, ""))

    async def _write(self, outgoing: Outgoing) -> None:
        tries = 0
        while True:
            try:
                self._producer.send(outgoing)
                await asyncio.to_thread(self._producer.flush)
                return
            except Transient as error:
                pause = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
                tries += 1
                _log.warning("log_does_not_take_diagnosis", error=str(error), retry_seconds=pause)
                await asyncio.sleep(pause)

    def _letter(self, record: Record, reason: str) -> Outgoing:
        letter = dead_letter(record, reason)
        _log.error("record_unreadable", where=letter.key, reason=reason, fix="see topic dead_letters")
        return letter

    def close(self) -> None:
        self._producer.close()
