"""DAG → DagDefinition."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner.core.assets import Asset, AssetAlias, AssetWatcher, asset_of
from spinner.core.deadlines import deadlines_of, to_message
from spinner.core.names import TriggerRule, WeightRule
from spinner.exceptions import SpinnerDagError
from spinner.serialization.resources import resources_of
from spinner.serialization.text import plain, template_value
from spinner.triggers.base import trigger_arguments

if TYPE_CHECKING:
    from spinner.core.dag import DAG
    from spinner.core.group import TaskGroup
    from spinner.core.operator import BaseOperator
    from spinner.core.retry_policy import RetryRule
    from spinner.core.xcom_arg import Length

_TRIGGER_RULES = {rule: pb.TriggerRule.Value("TRIGGER_RULE_" + rule.name) for rule in TriggerRule}
_WEIGHT_RULES = {rule: pb.WeightRule.Value("WEIGHT_RULE_" + rule.name) for rule in WeightRule}
_LENGTH_LISTS = ("product", "zip_shortest", "zip_longest", "concat")


def content_version(definition: pb.DagDefinition) -> str:
    """The version of a definition by its content: SHA-256, first 16 hexadecimal digits, of the deterministic
    serialization with version, parsed_time and bundle.version cleared."""
    copy = pb.DagDefinition()
    copy.CopyFrom(definition)
    copy.ClearField("version")
    copy.ClearField("parsed_time")
    if copy.HasField("bundle"):
        copy.bundle.ClearField("version")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()[:16]


def dag_to_definition(dag: DAG) -> pb.DagDefinition:
    """The definition without version, placement, bundle, relative_path, parsed_time and source, which the caller
    knows. Raises SpinnerDagError when the DAG cannot be run."""
    dag.check()
    definition = pb.DagDefinition(
        dag_id=dag.dag_id,
        schedule=dag.timetable.to_schedule(),
        catchup=dag.catchup,
        max_active_runs=dag.max_active_runs,
        max_active_tasks=dag.max_active_tasks,
        max_consecutive_failed_runs=dag.max_consecutive_failed_dag_runs,
        paused_upon_creation=dag.is_paused_upon_creation,
        owner=dag.owner,
        project=dag.project,
        tags=dag.tags,
        description=dag.description,
        doc_md=dag.doc_md,
        access_control=[
            pb.AccessGrant(role=role, permissions=permissions)
            for role, permissions in sorted(dag.access_control.items())
        ],
        params_json=_json(dag.params.dump()),
        render_template_as_native_obj=dag.render_template_as_native_obj,
        has_success_callback=bool(dag.on_success_callback),
        has_failure_callback=bool(dag.on_failure_callback),
        dynamic=dag.is_dynamic,
        runtime="spinner",
        tier=int(dag.tier),
        role_emails=dag.role_emails,
        details_json=_json(_details(dag)),
    )
    if dag.start_date:
        definition.start_date.FromDatetime(dag.start_date)
    if dag.end_date:
        definition.end_date.FromDatetime(dag.end_date)
    if dag.dagrun_timeout:
        definition.dagrun_timeout.FromTimedelta(dag.dagrun_timeout)
    order = dag.topological_order()
    positions = {task.task_id: position for position, task in enumerate(order)}
    groups = sorted(dag.task_group_dict.values(), key=lambda group: group.group_id)
    measured = _measured(order, groups)
    definition.tasks.extend(_task(dag, task, positions, measured) for task in order)
    definition.deadlines.extend(to_message(*deadline) for deadline in deadlines_of(dag))
    definition.assets.extend(_assets(dag))
    definition.task_groups.extend(_group(group, positions) for group in groups)
    for (upstream, downstream), label in sorted(dag.edge_labels.items()):
        definition.edge_labels.add(upstream_id=upstream, downstream_id=downstream, label=label)
    return definition


def _details(dag: DAG) -> dict[str, Any]:
    return {
        "default_args": {name: plain(value) for name, value in sorted(dag.default_args.items())},
        "timezone": dag.timezone,
        "display_name": dag.dag_display_name,
        "owner_links": dag.owner_links,
        "template_searchpath": list(dag.template_searchpath),
        "fail_fast": dag.fail_fast,
        "user_defined_macros": sorted(dag.user_defined_macros),
        "user_defined_filters": sorted(dag.user_defined_filters),
    }


def _measured(order: list[BaseOperator], groups: list[TaskGroup]) -> set[str]:
    """Ids of the unmapped tasks whose return values' lengths decide an expansion."""
    found: set[str] = set()

    def visit(length: Length) -> None:
        kind, value = length
        if kind == "task":
            if expansion_of(value) is None:
                found.add(value.task_id)
        elif kind != "literal":
            for item in value:
                visit(item)

    for task in order:
        length = expansion_of(task)
        if length is not None:
            visit(length)
    for group in groups:
        if group.expand_input is not None:
            visit(group.expand_input.length())
    return found


def expansion_of(task: BaseOperator) -> Length | None:
    """The length of the task's expansion, its own or its mapped group's; None when it is not mapped."""
    expand_input = getattr(task, "expand_input", None)
    if expand_input is not None:
        length: Length = expand_input.length()
        return length
    group = task.mapped_group()
    return group.expand_input.length() if group is not None and group.expand_input is not None else None


def _map_length(length: Length, positions: dict[str, int]) -> pb.MapLength:
    kind, value = length
    if kind == "literal":
        return pb.MapLength(literal=value)
    if kind == "task":
        return pb.MapLength(task=positions[value.task_id])
    if kind not in _LENGTH_LISTS:
        raise ValueError(f"Unknown kind of length {kind!r}")
    message = pb.MapLength()
    items = getattr(message, kind).items
    items.extend(_map_length(item, positions) for item in value)
    return message


def _task(dag: DAG, task: BaseOperator, positions: dict[str, int], measured: set[str]) -> pb.TaskDefinition:
    operator_class = task.operator_class
    message = pb.TaskDefinition(
        task_id=task.task_id,
        operator=getattr(operator_class, "custom_operator_name", None) or task.task_type,
        upstream=sorted(positions[task_id] for task_id in task.upstream_task_ids),
        trigger_rule=_TRIGGER_RULES[task.trigger_rule],
        retries=task.retries,
        retry_exponential_backoff=task.retry_exponential_backoff,
        retry_backoff_factor=task.retry_backoff_factor,
        pool=task.pool,
        pool_slots=task.pool_slots,
        priority_weight=task.priority_weight,
        weight_rule=_WEIGHT_RULES[task.weight_rule],
        queue=task.queue,
        depends_on_past=task.depends_on_past,
        wait_for_downstream=task.wait_for_downstream,
        ignore_first_depends_on_past=task.ignore_first_depends_on_past,
        max_active_tis_per_dag=task.max_active_tis_per_dag or 0,
        max_active_tis_per_dagrun=task.max_active_tis_per_dagrun or 0,
        is_setup=task.is_setup,
        is_teardown=task.is_teardown,
        on_failure_fail_dagrun=task.on_failure_fail_dagrun,
        inline_success=_is_inline(task),
        is_sensor=operator_class.is_sensor,
        is_branch=operator_class.is_branch,
        reports_length=task.task_id in measured,
        group_id=task.task_group.group_id if task.task_group else "",
        owner=task.owner or dag.owner,
        doc_md=task.doc_md or task.doc or "",
        template_fields_json=_json(_template_fields(task)),
        inlets=[asset_of(item).name for item in task.inlets],
        outlets=[item.name for item in map(asset_of, task.outlets) if isinstance(item, Asset)],
        outlet_aliases=[item.name for item in map(asset_of, task.outlets) if isinstance(item, AssetAlias)],
        retry_jitter=task.retry_jitter,
        wait_for_past_depends_before_skipping=task.wait_for_past_depends_before_skipping,
        custom_weights=_custom_weights(task),
        has_callbacks=task.has_callbacks(),
        callbacks=task.called_ends(),
        external_dag_id=_external_dag_id(task),
        fail_stop=dag.fail_fast,
    )
    resources = resources_of(task.executor_config)
    if resources:
        message.resources_json = _json(resources)
    message.retry_delay.FromTimedelta(task.retry_delay)
    if task.retry_policy is not None:
        message.retry_rules.extend(_retry_rule(rule) for rule in task.retry_policy.rules)
    if task.queued_timeout is not None:
        message.queued_timeout.FromTimedelta(task.queued_timeout)
    if task.max_retry_delay is not None:
        message.max_retry_delay.FromTimedelta(task.max_retry_delay)
    if task.execution_timeout is not None:
        message.execution_timeout.FromTimedelta(task.execution_timeout)
    if task.start_date:
        message.start_date.FromDatetime(task.start_date)
    if task.end_date:
        message.end_date.FromDatetime(task.end_date)
    length = expansion_of(task)
    if length is not None:
        message.map_length.CopyFrom(_map_length(length, positions))
    if task.is_teardown:
        message.setups.extend(sorted(positions[up.task_id] for up in task.upstream_list if up.is_setup))
    return message


def _is_inline(task: BaseOperator) -> bool:
    return (
        bool(getattr(task.operator_class, "inherits_from_empty_operator", False))
        and not task.has_callbacks()
        and not task.outlets
        and not task.is_mapped
    )


def _group(group: TaskGroup, positions: dict[str, int]) -> pb.TaskGroupDefinition:
    message = pb.TaskGroupDefinition(
        group_id=group.group_id,
        parent_id=group.parent_group.group_id if group.parent_group else "",
        tooltip=group.tooltip,
        label=group.label,
    )
    if group.expand_input is not None:
        message.map_length.CopyFrom(_map_length(group.expand_input.length(), positions))
    return message


def _template_fields(task: BaseOperator) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    values = getattr(task, "mapped_kwargs", None)
    for name in task.operator_class.template_fields:
        if values is None:
            value = getattr(task, name, None)
        elif name in values:
            value = values[name]
        else:
            continue
        if value is not None:
            fields[name] = template_value(value)
    return fields


def _external_dag_id(task: BaseOperator) -> str:
    values = getattr(task, "mapped_kwargs", None)
    for name in ("external_dag_id", "trigger_dag_id"):
        value = values.get(name) if values is not None else getattr(task, name, None)
        if isinstance(value, str):
            return value
    return ""


def _custom_weights(task: BaseOperator) -> list[int]:
    strategy = task.weight_strategy
    if strategy is None:
        return []
    weights = []
    for number in range(1, task.retries + 2):
        ti = SimpleNamespace(
            task=task,
            task_id=task.task_id,
            dag_id=task.dag.dag_id if task.dag else "",
            try_number=number,
            map_index=-1,
            priority_weight=task.priority_weight,
        )
        weight = strategy.get_weight(ti)
        if isinstance(weight, bool) or not isinstance(weight, int):
            raise SpinnerDagError(
                f"The weight rule of task {task.task_id!r} returned {weight!r}.", "Return a whole number."
            )
        weights.append(max(-(2**31), min(weight, 2**31 - 1)))
    return weights


def _retry_rule(rule: RetryRule) -> pb.RetryRule:
    message = pb.RetryRule(
        exceptions=rule.exceptions,
        action=pb.RETRY_ACTION_FAIL if rule.action == "fail" else pb.RETRY_ACTION_RETRY,
        reason=rule.reason,
        exact=not rule.match_subclasses,
    )
    if rule.action == "retry":
        if rule.retry_delay is not None:
            message.delay.FromTimedelta(rule.retry_delay)
        if rule.retries is not None:
            message.retries = rule.retries
    return message


def _assets(dag: DAG) -> list[pb.AssetDefinition]:
    """Every asset that the DAG names, as it was named first; what others of its name add is added."""
    found: dict[tuple[bool, str], pb.AssetDefinition] = {}
    for item in dag.named_assets():
        alias = isinstance(item, AssetAlias)
        message = pb.AssetDefinition(name=item.name, group=item.group, alias=alias)
        if isinstance(item, Asset):
            message.uri = item.uri
            message.extra_json = _json(item.extra) if item.extra else ""
            if item.freshness is not None:
                message.freshness.FromTimedelta(item.freshness)
            message.has_stale_callback = item.on_stale_callback is not None
            message.watchers.extend(map(_watcher, item.watchers))
        first = found.setdefault((alias, item.name), message)
        if first is not message:
            if not first.HasField("freshness") and message.HasField("freshness"):
                first.freshness.CopyFrom(message.freshness)
            first.has_stale_callback |= message.has_stale_callback
            known = {watcher.name for watcher in first.watchers}
            first.watchers.extend(watcher for watcher in message.watchers if watcher.name not in known)
    return [found[key] for key in sorted(found)]


def _watcher(watcher: AssetWatcher) -> pb.WatcherDefinition:
    path, arguments = trigger_arguments(watcher.trigger)
    return pb.WatcherDefinition(
        name=watcher.name,
        trigger_class=path,
        trigger_arguments_json=arguments,
        needs_bundle=watcher.trigger.needs_bundle(),
    )


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise SpinnerDagError(f"{value!r} is not JSON: {error}", "Use strings, numbers, lists and dicts.") from error
