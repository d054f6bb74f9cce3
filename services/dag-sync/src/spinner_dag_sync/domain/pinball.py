"""From a legacy workflow's specification to a DagDefinition with the runtime "pinball".

A run starts at reference + n·recurrence, which is its logical date. Job tokens carry the priorities, summed over
descendants, so weights are absolute. The legacy system lets one more run than its limit run at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

from google.protobuf.json_format import MessageToDict
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2 as tf

from spinner_dag_sync.domain.config import Bundle

_FREE_POLICY = "START_NEW"


def path_of(workflow_name: str) -> str:
    """Stands for the file of a workflow, which may be spread over many."""
    return f"workflows/{workflow_name}"


def definition_of(
    specification: tf.WorkflowSpecification, priorities: Mapping[str, float], bundle: Bundle
) -> pb.DagDefinition:
    """Returns the definition, without what `assemble` adds. `priorities`: by job, from the job tokens."""
    schedule = specification.schedule
    start = bundle.start_date
    definition = pb.DagDefinition(
        dag_id=specification.workflow_name,
        relative_path=path_of(specification.workflow_name),
        runtime="pinball",
        tier=bundle.tier or 0,
        owner=bundle.owner,
        project=bundle.project,
        catchup=False,
        max_active_runs=schedule.max_running_instances + 1 if schedule.overrun_policy == _FREE_POLICY else 1,
        paused_upon_creation=bundle.paused,
        tags=["pinball"],
        description=f"Migrated from the Pinball repository {bundle.repository}",
        role_emails=sorted(specification.notify_emails),
        details_json=json.dumps({"pinball": _details(specification)}, sort_keys=True),
    )
    if start is not None:
        definition.start_date.FromDatetime(start)
    else:
        definition.start_date.CopyFrom(schedule.reference_time)
    for role, permissions in sorted(bundle.access_control.items()):
        definition.access_control.add(role=role, permissions=sorted(permissions))
    delta = definition.schedule.delta
    delta.period.CopyFrom(schedule.recurrence)
    delta.reference_time.CopyFrom(schedule.reference_time)
    delta.timezone = "UTC"
    delta.run_at_tick = True
    period = schedule.recurrence.ToTimedelta()
    definition.schedule.text = (
        f"every {_text(period)} from {schedule.reference_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC"
    )
    positions = {job.name: position for position, job in enumerate(specification.jobs)}
    for job in specification.jobs:
        definition.tasks.append(_task(job, positions, priorities.get(job.name, job.priority), bundle))
    return definition


def source_of(specification: tf.WorkflowSpecification) -> bytes:
    """Returns the specification as text, for the Code view."""
    content = MessageToDict(specification, preserving_proto_field_name=True)
    content.pop("version", None)
    content.get("schedule", {}).pop("next_run_time", None)
    return json.dumps(content, indent=2, sort_keys=True).encode()


def _task(job: tf.JobSpecification, positions: Mapping[str, int], priority: float, bundle: Bundle) -> pb.TaskDefinition:
    task = pb.TaskDefinition(
        task_id=job.name,
        operator=job.template or "PinballJob",
        upstream=sorted(positions[name] for name in job.inputs if name in positions),
        trigger_rule=pb.TRIGGER_RULE_ALL_SUCCESS,
        retries=max(0, job.max_attempts - 1),
        priority_weight=max(1, round(priority)),
        weight_rule=pb.WEIGHT_RULE_ABSOLUTE,
        pool="default_pool",
        pool_slots=1,
        owner=bundle.owner,
        command=job.command,
        template_fields_json=json.dumps({"command": job.command}),
        resources_json=json.dumps(bundle.resources, sort_keys=True) if bundle.resources else "",
    )
    if job.HasField("retry_delay"):
        task.retry_delay.CopyFrom(job.retry_delay)
    if job.HasField("abort_timeout"):
        task.execution_timeout.CopyFrom(job.abort_timeout)
    return task


def _details(specification: tf.WorkflowSpecification) -> dict[str, object]:
    return {
        "overrun_policy": specification.schedule.overrun_policy,
        "max_running_instances": specification.schedule.max_running_instances,
        "jobs": {
            job.name: {
                "kind": job.kind,
                "class": job.job_class,
                "executor": job.executor,
                "emails": sorted(job.emails),
                "warn_timeout_seconds": job.warn_timeout.ToTimedelta().total_seconds(),
            }
            for job in specification.jobs
        },
    }


def _text(period: timedelta) -> str:
    for unit, size in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if period % size == timedelta():
            count = period // size
            return unit if count == 1 else f"{count} {unit}s"
    return f"{period.total_seconds():g} seconds"
