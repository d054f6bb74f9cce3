"""Orders that are no task: the layout of a dynamic DAG's run, and a DAG's own callbacks."""

from __future__ import annotations

import logging
from datetime import UTC
from typing import TYPE_CHECKING, Any

from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.inbox.v1 import inbox_pb2 as inbox
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.core.deadlines import deadlines_of
from spinner.core.dynamic import DynamicDAG
from spinner.exceptions import SpinnerException
from spinner.runtime.context import DagRun, parse_conf, run_context
from spinner.runtime.current import set_current
from spinner.runtime.report import one_line
from spinner.serialization.definition import content_version, dag_to_definition

if TYPE_CHECKING:
    from spinner.core.dag import DAG
    from spinner.runtime.runner import Work

_log = logging.getLogger("spinner.runtime")


def compute_layout(work: Work) -> pb.FinishRequest:
    """A5: computes the run's layout and publishes it."""
    order = work.order
    with work.stages.stage(common.STAGE_PARSE, f"Reading {order.relative_path}"):
        dag = work.load_dag()
        if not isinstance(dag, DynamicDAG):
            raise SpinnerException(f"DAG {dag.dag_id!r} is no DynamicDAG in this bundle version.")
    with work.stages.stage(common.STAGE_TASK_EXEC, "Computing the layout of the run"):
        set_current(work.api)
        conf = parse_conf(work.conf_json)
        layout = dag.layout(order.logical_date.ToDatetime(tzinfo=UTC), conf)
        definition = dag_to_definition(layout)
        definition.bundle.CopyFrom(order.bundle)
        definition.relative_path = order.relative_path
        definition.dynamic_source_version = order.version
        definition.version = content_version(definition)
        _log.info("The layout has %d tasks", len(definition.tasks))
        request = pb.PublishLayoutRequest(definition=definition.SerializeToString())
        answer = work.connection.call("PublishLayout", request, pb.PublishLayoutResponse)
    return pb.FinishRequest(layout_computed=inbox.LayoutComputed(version=answer.version or definition.version))


def run_dag_callbacks(work: Work) -> inbox.TaskEnded:
    """Runs on_success_callback or on_failure_callback of the DAG, or the callback of one of its deadlines.

    The order fails when one of them does.
    """
    order = work.order
    with work.stages.stage(common.STAGE_PARSE, f"Reading {order.relative_path}"):
        dag = work.load_dag()
        run = DagRun(order, parse_conf(work.conf_json))
        run.state = {"success": "success", "deadline": "running"}.get(order.callback, "failed")
    callbacks = _callbacks(work, dag, run)
    problems: list[str] = []
    with work.stages.stage(common.STAGE_CALLBACK, f"Calling the DAG's {order.callback} callbacks") as stage:
        context: dict[str, Any] = run_context(order, dag, run, dag.params.with_conf(run.conf))
        context["reason"] = order.callback_reason
        if order.callback == "deadline":
            context["deadline"] = {
                "name": order.deadline_name,
                "task_id": order.deadline_task_id or None,
                "deadline_time": order.deadline_time.ToDatetime(tzinfo=UTC),
                "predicted": order.deadline_predicted,
            }
        set_current(work.api, context)
        for callback in callbacks:
            try:
                callback(context)
            except Exception as error:  # noqa: BLE001 - user code
                _log.exception("The callback %s failed", getattr(callback, "__name__", callback))
                problems.append(one_line(error))
        if problems:
            stage.outcome, stage.message = common.STAGE_OUTCOME_FAILED, problems[0]
    if problems:
        return inbox.TaskEnded(outcome=common.OUTCOME_FAILED, message=problems[0], exit_code=1, return_length=-1)
    return inbox.TaskEnded(outcome=common.OUTCOME_SUCCESS, return_length=-1)


def _callbacks(work: Work, dag: DAG, run: DagRun) -> list[Any]:
    order = work.order
    if order.callback == "success":
        return list(dag.on_success_callback)
    if order.callback != "deadline":
        return list(dag.on_failure_callback)
    if isinstance(dag, DynamicDAG):
        dag = dag.layout(order.logical_date.ToDatetime(tzinfo=UTC), run.conf)
    for name, task_id, alert in deadlines_of(dag):
        if (name, task_id) == (order.deadline_name, order.deadline_task_id) and alert.callback is not None:
            return [alert.callback]
    raise SpinnerException(f"DAG {dag.dag_id!r} has no deadline {order.deadline_name!r} in this bundle version.")
