"""C8: the callbacks of a task's or run's end, as a try of their own.

One that raises or hangs fails the try, which is ordered again; those that were done are not called twice. A try's own
worker only calls ``on_execute_callback``: whatever became of it, OOM kill and lost node too, its end is told from here.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any

from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.inbox.v1 import inbox_pb2 as inbox
from spinner_proto.orders.v1 import orders_pb2 as orders

from spinner.core.assets import Asset
from spinner.core.deadlines import deadlines_of
from spinner.core.dynamic import DynamicDAG
from spinner.core.mapped import MappedOperator
from spinner.exceptions import SpinnerException, TaskTimeout
from spinner.runtime.context import DagRun, TaskInstance, build_context, moment, parse_conf, run_context
from spinner.runtime.current import set_current
from spinner.runtime.report import one_line
from spinner.runtime.templates import Renderer

if TYPE_CHECKING:
    from spinner.core.dag import DAG
    from spinner.core.operator import BaseOperator
    from spinner.runtime.runner import Work

_log = logging.getLogger("spinner.runtime")
PREFIX = "__callback__."
CALLBACK_SECONDS = 600.0
_STATES = {"success": "success", "failure": "failed", "retry": "up_for_retry", "skipped": "skipped"}


def run_callbacks(work: Work) -> inbox.TaskEnded:
    """Runs the callbacks that the order names; the try fails when one of them does."""
    order = work.order
    if order.segment:
        time.sleep(min(30.0, 2.0**order.segment))
    task_id = order.try_key.task_id.removeprefix(PREFIX) if order.try_key.task_id.startswith(PREFIX) else ""
    with work.stages.stage(common.STAGE_PARSE, f"Reading {order.relative_path}"):
        dag = work.load_dag()
        run = DagRun(order, parse_conf(work.conf_json))
        if isinstance(dag, DynamicDAG) and (task_id or order.callback == "deadline"):
            dag = dag.layout(order.logical_date.ToDatetime(tzinfo=UTC), run.conf)
        for task in dag.tasks if task_id else ():
            task.connect_references()
        if order.callback == "stale":
            context, callbacks = _of_asset(work, dag)
        else:
            context, callbacks = _of_task(work, dag, run, task_id) if task_id else _of_dag(work, dag, run)
    problems: list[str] = []
    what = f"of task {task_id}" if task_id else f"of asset {order.asset}" if order.asset else "of the DAG"
    with work.stages.stage(common.STAGE_CALLBACK, f"Calling the {order.callback} callbacks {what}") as stage:
        set_current(work.api, context)
        for number, callback in enumerate(callbacks):
            problem = _call(work, number, callback, context)
            if problem:
                problems.append(problem)
        if problems:
            stage.outcome, stage.message = common.STAGE_OUTCOME_FAILED, problems[0]
    if problems:
        return inbox.TaskEnded(outcome=common.OUTCOME_FAILED, message=problems[0], exit_code=1, return_length=-1)
    return inbox.TaskEnded(outcome=common.OUTCOME_SUCCESS, return_length=-1)


def _call(work: Work, number: int, callback: Any, context: dict[str, Any]) -> str:
    """Calls one; returns what went wrong, "" for nothing."""
    name = getattr(callback, "__name__", None) or type(callback).__name__
    done = f"done_{work.order.try_key.try_number}_{number}"
    own = work.order.try_key
    if work.order.segment and work.api.get_xcoms(own.task_id, done, map_indexes=[own.map_index]):
        _log.info("%s was done before", name)
        return ""
    _log.info("Calling %s", name)
    try:
        with work.control.timeout(CALLBACK_SECONDS):
            callback(context)
    except (Exception, TaskTimeout, SystemExit) as error:  # noqa: BLE001 - user code
        _log.exception("The callback %s failed", name)
        return one_line(error)
    work.api.set_xcom(done, True, "The note that a callback is done")
    return ""


def _of_dag(work: Work, dag: DAG, run: DagRun) -> tuple[dict[str, Any], list[Any]]:
    order = work.order
    run.state = {"success": "success", "deadline": "running"}.get(order.callback, "failed")
    context = run_context(order, dag, run, dag.params.with_conf(run.conf))
    context["reason"] = order.callback_reason
    if order.callback == "success":
        return context, list(dag.on_success_callback)
    if order.callback != "deadline":
        return context, list(dag.on_failure_callback)
    context["deadline"] = {
        "name": order.deadline_name,
        "task_id": order.deadline_task_id or None,
        "deadline_time": order.deadline_time.ToDatetime(tzinfo=UTC),
        "predicted": order.deadline_predicted,
    }
    for name, task_id, alert in deadlines_of(dag):
        if (name, task_id) == (order.deadline_name, order.deadline_task_id) and alert.callback is not None:
            return context, [alert.callback]
    raise SpinnerException(f"DAG {dag.dag_id!r} has no deadline {order.deadline_name!r} in this bundle version.")


def _of_asset(work: Work, dag: DAG) -> tuple[dict[str, Any], list[Any]]:
    order = work.order
    for asset in dag.named_assets():
        if isinstance(asset, Asset) and asset.name == order.asset and asset.on_stale_callback is not None:
            context: dict[str, Any] = {
                "dag": dag,
                "asset": asset,
                "reason": order.callback_reason,
                "stale_time": moment(order, "stale_time"),
                "last_update_time": moment(order, "last_update_time"),
            }
            context["context"] = context
            return context, [asset.on_stale_callback]
    raise SpinnerException(
        f"DAG {dag.dag_id!r} has no asset {order.asset!r} with an on_stale_callback in this bundle version."
    )


def _of_task(work: Work, dag: DAG, run: DagRun, task_id: str) -> tuple[dict[str, Any], list[Any]]:
    ended = orders.TaskOrder()
    ended.CopyFrom(work.order)
    ended.try_key.task_id = task_id
    task = dag.task_dict.get(task_id)
    if task is None:
        raise SpinnerException(f"DAG {dag.dag_id!r} has no task {task_id!r} in this bundle version.")
    ti = TaskInstance(ended, dag, task, work.api, work.started)
    ti.start_date = ti.first_start_time
    ti.state = _STATES[work.order.callback]
    context = build_context(ended, dag, task, ti, run)
    if isinstance(task, MappedOperator):
        task = task.instance(ti)
        context["task"] = ti.task = task
    ti.renderer = Renderer(dag, context, ti)
    if work.order.callback in ("failure", "retry"):
        context["reason"] = work.order.callback_reason
        context["exception"] = SpinnerException(work.order.callback_reason or "The try failed.")
    return context, _callbacks_of(task, work.order.callback)


def _callbacks_of(task: BaseOperator, name: str) -> list[Any]:
    callbacks = list(getattr(task, f"on_{name}_callback"))
    wants_mail = {"failure": task.email_on_failure, "retry": task.email_on_retry}.get(name, False)
    if task.email and wants_mail:
        from spinner.notifications.email import EmailNotifier

        callbacks.append(EmailNotifier(to=task.email))
    return callbacks
