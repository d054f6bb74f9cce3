"""Shared by the tests of the core: DAGs as chains, and a run of one."""

from __future__ import annotations

from typing import Any

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition

FAILED = Outcome.OUTCOME_FAILED


def chain(made: DagDefinition, *task_ids: str) -> DagDefinition:
    for position, task_id in enumerate(task_ids):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def begin(lab: Any, made: DagDefinition) -> None:
    lab.publish(made)
    lab.trigger()
