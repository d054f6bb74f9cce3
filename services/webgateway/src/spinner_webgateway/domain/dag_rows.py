"""Events of DAGs, and answers to commands → rows. Pure."""

from __future__ import annotations

from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import words
from spinner_webgateway.domain.step import Step
from spinner_webgateway.domain.words import clip


def dag_updated(step: Step, event: events_pb2.DagUpdated) -> None:
    dag = step.dag()
    dag["version"] = event.version
    dag["paused"] = event.paused
    dag["removed"] = False
    dag["next_run_time"] = words.micros(event.next_run_time)
    dag["next_logical_date"] = words.micros(event.next_logical_date)
    dag["no_next_run_reason"] = clip(event.no_next_run_reason)
    dag["active_runs"] = event.active_runs
    dag["updated_time"] = step.time
    if event.HasField("placement"):
        dag["cluster"] = event.placement.cluster
        dag["tier"] = event.placement.tier
        dag["partition"] = event.placement.partition


def dag_removed(step: Step, event: events_pb2.DagRemoved) -> None:
    dag = step.dag()
    dag["removed"] = True
    dag["updated_time"] = step.time


def command_accepted(step: Step, event: events_pb2.CommandAccepted) -> None:
    plan = next((getattr(event, name) for name in ("backfill_plan", "clear_plan") if event.HasField(name)), None)
    step.rows.put(
        "commands",
        {
            "request_id": event.request_id,
            "dag_id": step.dag_id,
            "accepted": True,
            "code": "",
            "message": "",
            "run_id": event.run_id,
            "task_count": event.task_count,
            "time": step.time,
            "plan": plan.SerializeToString() if plan is not None else None,
        },
    )


def command_rejected(step: Step, event: events_pb2.CommandRejected) -> None:
    step.rows.put(
        "commands",
        {
            "request_id": event.request_id,
            "dag_id": step.dag_id,
            "accepted": False,
            "code": clip(event.code, 100),
            "message": clip(event.message),
            "run_id": "",
            "task_count": 0,
            "time": step.time,
            "plan": None,
        },
    )
