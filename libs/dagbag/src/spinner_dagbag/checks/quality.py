"""What others need to live with a DAG: notifications, documentation, sensors that give up."""

from __future__ import annotations

from collections.abc import Iterator

from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dagbag.checks.model import DagSubject, Problem, Severity, check


@check(
    "SPN016",
    "Failures reach somebody",
    Severity.WARNING,
    'Add default_args={"email": […]}, role emails or on_failure_callback to DAG(…).',
    up_to_tier=2,
)
def failures_reach_somebody(dag: DagSubject) -> Iterator[Problem]:
    definition = dag.definition
    if definition.tier > dag.limit("up_to_tier"):
        return
    default_args = dag.details.get("default_args")
    mail = isinstance(default_args, dict) and bool(default_args.get("email"))
    callbacks = definition.has_failure_callback or any(task.has_callbacks for task in definition.tasks)
    if not (definition.role_emails or mail or callbacks):
        yield Problem(f"Nobody is told when DAG {definition.dag_id} of tier {definition.tier} fails")


@check("SPN017", "DAG is documented", Severity.WARNING, "Add description= or doc_md= to DAG(…).", up_to_tier=1)
def dag_is_documented(dag: DagSubject) -> Iterator[Problem]:
    definition = dag.definition
    if definition.tier <= dag.limit("up_to_tier") and not (definition.description or definition.doc_md):
        yield Problem(f"DAG {definition.dag_id} of tier {definition.tier} has neither description nor doc_md")


@check(
    "SPN027",
    "Sensors give up",
    Severity.WARNING,
    "Set execution_timeout (or the sensor's timeout) to the longest wait that makes sense.",
)
def sensors_give_up(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        if task.is_sensor and not task.HasField("execution_timeout") and not dag.definition.HasField("dagrun_timeout"):
            fields = task.template_fields_json
            if '"timeout"' not in fields:
                yield Problem(f"Sensor {task.task_id} has no time-out of its own", task.task_id)


@check(
    "SPN030",
    "Trigger rules have something to look at",
    Severity.WARNING,
    "Remove trigger_rule, or add the upstream task that it is about.",
)
def trigger_rules_have_upstreams(dag: DagSubject) -> Iterator[Problem]:
    free = (pb.TRIGGER_RULE_UNSPECIFIED, pb.TRIGGER_RULE_ALL_SUCCESS, pb.TRIGGER_RULE_ALWAYS)
    for task in dag.definition.tasks:
        if not task.upstream and task.trigger_rule not in free:
            rule = pb.TriggerRule.Name(task.trigger_rule).removeprefix("TRIGGER_RULE_").lower()
            yield Problem(f"Task {task.task_id} has trigger_rule {rule} but no upstream task", task.task_id)


@check("SPN032", "Tags are short", Severity.WARNING, "Use tags of 1 to 100 characters.", max_length=100)
def tags_are_short(dag: DagSubject) -> Iterator[Problem]:
    for tag in dag.definition.tags:
        if not tag.strip() or len(tag) > dag.limit("max_length"):
            yield Problem(f"Tag {tag[:40]!r} has {len(tag)} characters")


@check(
    "SPN036",
    "Past dependencies can be met",
    Severity.WARNING,
    "Set max_active_runs=1 in DAG(…), or remove wait_for_downstream.",
)
def past_dependencies_can_be_met(dag: DagSubject) -> Iterator[Problem]:
    if dag.definition.max_active_runs == 1 or not dag.is_scheduled:
        return
    for task in dag.definition.tasks:
        if task.wait_for_downstream:
            yield Problem(
                f"Task {task.task_id} waits for the previous run while others may run beside it", task.task_id
            )
