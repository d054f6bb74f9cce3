"""Explanations as JSON, and what the views know beside the scheduler: parse errors, executors and workers.

The scheduler's answer stays as it is; the views only add to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spinner_proto.explain.v1.explain_pb2 import Explanation, Party, Reason, Subject

from spinner_webgateway.domain import words
from spinner_webgateway.domain.rows import Row

PARSE_ERROR = "PARSE_ERROR"
HAVE_WORKERS = frozenset(
    {"RUNNING", "LAUNCHED_NOT_STARTED", "EXECUTOR_PENDING", "CANCELLING", "RESTARTING", "DEFERRED", "LAYOUT_PENDING"}
)
"""Reasons in which an executor has a part."""


def parse_errors(rows: Iterable[Row], known: bool) -> list[Reason]:
    """Reasons for files that can't be parsed; notes while an older version is `known`, because it stays in force."""
    found = []
    for row in rows:
        file = f"{row['relative_path']} of bundle {row['bundle']}"
        line = f", line {row['line']}" if row["line"] else ""
        message = f"{file}{line} can't be parsed: {row['message']}"
        if known:
            message += " (the version before it stays in force)"
        reason = Reason(code=PARSE_ERROR, message=message, note=known, fix=row["fix"] or "Correct the file.")
        if (since := words.timestamp_of(row["detected_time"])) is not None:
            reason.since.CopyFrom(since)
        reason.holders.append(Party(kind="file", name=row["relative_path"], map_index=-1))
        reason.holder_count = 1
        found.append(reason)
    return found


def add_workers(reasons: Iterable[Reason], row: Row | None) -> None:
    """Names the executor and the worker of the task instance that the reasons are about."""
    if row is None:
        return
    for reason in reasons:
        if reason.code not in HAVE_WORKERS or reason.waiting_count:
            continue
        for kind in ("executor", "worker"):
            if row[kind]:
                reason.holders.append(Party(kind=kind, name=row[kind], map_index=-1))
                reason.holder_count += 1


def add_pool(reasons: Iterable[Reason], pool: str, said: Explanation) -> None:
    """Adds to reasons that await a slot of a pool who holds it, as the pool's owner says."""
    for reason in reasons:
        if reason.code != "POOL_NOT_ANSWERED" or not any(p.kind == "pool" and p.name == pool for p in reason.holders):
            continue
        for held in said.reasons:
            reason.message += f": {held.message}"
            reason.fix = held.fix
            room = 20 - len(reason.holders)
            reason.holders.extend(held.holders[:room])
            reason.holder_count += held.holder_count


def awaited_pools(reasons: Iterable[Reason]) -> dict[str, str]:
    """Pools of other partitions that are awaited, with the partition that owns each."""
    found = {}
    for reason in reasons:
        if reason.code == "POOL_NOT_ANSWERED":
            owner = next((party.name for party in reason.holders if party.kind == "partition"), "")
            found.update({party.name: owner for party in reason.holders if party.kind == "pool"})
    return found


def as_json(found: Explanation) -> dict[str, Any]:
    """Returns the shape `Explanation`."""
    return {
        "subject": _subject(found.subject),
        "state": found.state,
        "reasons": [_reason(reason) for reason in found.reasons],
        "time": words.iso(words.micros(found.time)),
        "partition": found.partition,
    }


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "dag_id": subject.dag_id,
        "run_id": subject.run_id,
        "task_id": subject.task_id,
        "map_index": subject.map_index if subject.HasField("map_index") else None,
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "code": reason.code,
        "message": reason.message,
        "since": words.iso(words.micros(reason.since)),
        "until": words.iso(words.micros(reason.until)),
        "holders": [_party(party) for party in reason.holders],
        "holder_count": reason.holder_count,
        "fix": reason.fix,
        "waiting": [_party(party) for party in reason.waiting],
        "waiting_count": reason.waiting_count,
        "note": reason.note,
    }


def _party(party: Party) -> dict[str, Any]:
    return {
        "kind": party.kind,
        "name": party.name,
        "dag_id": party.dag_id,
        "run_id": party.run_id,
        "task_id": party.task_id,
        "map_index": party.map_index,
        "try_number": party.try_number,
        "state": party.state,
        "since": words.iso(words.micros(party.since)),
    }
