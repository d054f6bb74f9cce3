"""Shared by the tests of `explain`: how a situation is made, and how its reasons are asked for."""

from __future__ import annotations

from typing import Any

from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.explain.v1.explain_pb2 import Explanation, Reason, Subject
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, PoolMessage
from spinner_scheduler.domain import times
from spinner_scheduler.domain.explain import explain

from services.scheduler.tests.unit.dags import chain

START = 1_760_000_400 * times.SECOND  # 2025-10-09T09:00:00Z, as in conftest
HOUR = 3600


def why(
    lab: Any, dag_id: str = "dag", run_id: str = "", task_id: str = "", map_index: int | None = None
) -> Explanation:
    subject = Subject(dag_id=dag_id, run_id=run_id, task_id=task_id)
    if map_index is not None:
        subject.map_index = map_index
    return explain(lab.state, subject, lab.now)


def task(lab: Any, task_id: str, run_id: str = "run", map_index: int | None = None) -> dict[str, Reason]:
    return {reason.code: reason for reason in why(lab, "dag", run_id, task_id, map_index).reasons}


def run_reasons(lab: Any, run_id: str = "run") -> dict[str, Reason]:
    return {reason.code: reason for reason in why(lab, "dag", run_id).reasons}


def dag_reasons(lab: Any) -> dict[str, Reason]:
    return {reason.code: reason for reason in why(lab).reasons}


def names(reason: Reason) -> list[str]:
    return [party.name for party in reason.holders]


def after(stamp: Any) -> float:
    """Seconds after START."""
    return (times.from_timestamp(stamp) - START) / times.SECOND


def timed(lab: Any, **fields: Any) -> DagDefinition:
    """A DAG every hour since an hour before START."""
    made = chain(lab.dag(**fields), "a")
    made.schedule.cron.expressions.append("0 * * * *")
    if not made.HasField("start_date"):
        made.start_date.FromMicroseconds(START - HOUR * times.SECOND)
    return made


def pool(name: str, slots: int, include_deferred: bool = False) -> InboxMessage:
    message = InboxMessage(pool=PoolMessage(pool=name))
    message.pool.changed.slots = slots
    message.pool.changed.include_deferred = include_deferred
    return message
