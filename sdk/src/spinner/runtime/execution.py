"""Running a task: find it, build its context, render, execute or resume, push, call back."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.inbox.v1 import inbox_pb2 as inbox
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.core.dynamic import DynamicDAG
from spinner.core.mapped import MappedOperator
from spinner.core.operator import BaseOperator
from spinner.core.values import decode_json, encode_json
from spinner.core.xcom_arg import RETURN_KEY
from spinner.exceptions import (
    DecisionNeeded,
    RescheduleTask,
    SkipTask,
    SpinnerException,
    TaskDeferralError,
    TaskDeferralTimeout,
    TaskDeferred,
    TaskTerminated,
    UnmappableXCom,
)
from spinner.runtime.assets import drain
from spinner.runtime.context import DagRun, TaskInstance, build_context, parse_conf
from spinner.runtime.current import set_current
from spinner.runtime.report import log_failure, one_line
from spinner.runtime.runner import Work, failure
from spinner.runtime.templates import Renderer
from spinner.triggers.base import trigger_arguments

if TYPE_CHECKING:
    from spinner.core.dag import DAG

_log = logging.getLogger("spinner.runtime")


def run_task(work: Work) -> pb.FinishRequest:
    """Runs one segment of a task's try."""
    with work.stages.stage(common.STAGE_PARSE, f"Reading {work.order.relative_path}"):
        dag, task = _find(work)
        run = DagRun(work.order, parse_conf(work.conf_json))
        ti = TaskInstance(work.order, dag, task, work.api, work.started)
        context = build_context(work.order, dag, task, ti, run)
        set_current(work.api, context)
    execution = _Execution(work, task, ti, context)
    try:
        with work.stages.stage(common.STAGE_TASK_EXEC, _announcement(work)):
            ended = execution.run()
    except TaskDeferred as deferral:
        return pb.FinishRequest(deferred=_deferred(deferral))
    except DecisionNeeded as needed:
        return pb.FinishRequest(deferred=_asked(needed))
    except RescheduleTask as reschedule:
        message = inbox.TaskRescheduled()
        message.next_time.FromDatetime(reschedule.reschedule_date)
        _log.info("The next question is at %s", reschedule.reschedule_date.isoformat())
        return pb.FinishRequest(rescheduled=message)
    except TaskTerminated as error:
        ended = failure(work, error, work.control.stop_outcome)
        context["exception"] = error
    except SkipTask as error:
        _log.info("Skipped: %s", error)
        ended = failure(work, error)
        del ended.exception_classes[:]
        ended.message = str(error)
    except BaseException as error:  # noqa: BLE001 - the outcome of user code, whatever it raised
        ended = _failed(work, error)
        context["exception"] = error
    work.rendered = ti.rendered
    return pb.FinishRequest(ended=ended)


def _announcement(work: Work) -> str:
    order, key = work.order, work.order.try_key
    instance = f"[{key.map_index}]" if key.map_index >= 0 else ""
    verb = f"Resuming at {order.resume_method}()" if order.resume_method else "Running"
    return f"{verb}: task {key.task_id}{instance}, try {key.try_number} of {max(order.max_tries, key.try_number)}"


def _find(work: Work) -> tuple[DAG, BaseOperator]:
    order = work.order
    dag = work.load_dag()
    if isinstance(dag, DynamicDAG):
        dag = dag.layout(_logical_date(work), parse_conf(work.conf_json))
        for task in dag.tasks:
            task.connect_references()
    found = dag.task_dict.get(order.try_key.task_id)
    if found is None:
        raise SpinnerException(
            f"DAG {dag.dag_id!r} has no task {order.try_key.task_id!r} in this bundle version"
            + (": compute_layout() must give the same tasks each time it is called." if order.version else ".")
        )
    return dag, found


def _logical_date(work: Work) -> datetime:
    return work.order.logical_date.ToDatetime(tzinfo=UTC)


class _Execution:
    def __init__(self, work: Work, task: BaseOperator, ti: TaskInstance, context: dict[str, Any]) -> None:
        self._work = work
        self._ti = ti
        self._context = context
        self.task = task

    def run(self) -> inbox.TaskEnded:
        """Executes. Raises what user code raises."""
        order, ti, context = self._work.order, self._ti, self._context
        if isinstance(self.task, MappedOperator):
            self.task = self.task.instance(ti)
            self._context["task"] = ti.task = self.task
        task = self._work.control.task = self.task
        ti.renderer = Renderer(ti.dag, context, ti)
        ti.rendered.update(ti.renderer.render_fields(task))
        if not order.resume_method and not order.skip_callbacks:
            _run_callbacks(task.on_execute_callback, context, "on_execute_callback")
        with self._work.control.timeout(self._time_left()):
            result = self._execute(task)
        if result is not None and getattr(task, "show_return_value_in_logs", True):
            _log.info("Done. The task returned a %s", type(result).__name__)
        return self._success(task, result)

    def _time_left(self) -> float | None:
        order = self._work.order
        if not order.HasField("execution_timeout"):
            return None
        seconds: float = order.execution_timeout.ToTimedelta().total_seconds()
        if order.resume_method:
            seconds -= (datetime.now(UTC) - self._ti.first_start_time).total_seconds()
        return seconds

    def _execute(self, task: BaseOperator) -> Any:
        order, context = self._work.order, self._context
        if order.resume_method:
            return self._resume(task)
        task.pre_execute(context)
        result = task.execute(context)
        if inspect.isgenerator(result):
            result = drain(result, context["outlet_events"])
        task.post_execute(context, result)
        return result

    def _resume(self, task: BaseOperator) -> Any:
        order = self._work.order
        method = getattr(task, order.resume_method, None)
        if method is None:
            raise SpinnerException(f"{task.task_type} has no method {order.resume_method!r} to resume with.")
        if order.resume_error:
            kind = TaskDeferralTimeout if order.resume_error.lower().startswith("timeout") else TaskDeferralError
            text = "The trigger did not fire in time." if kind is TaskDeferralTimeout else order.resume_error
            error = kind(text)
            resume_failed = getattr(task, "resume_failed", None)
            raise resume_failed(error) if resume_failed is not None else error
        kwargs = decode_json(order.resume_arguments_json) if order.resume_arguments_json else {}
        event = decode_json(order.resume_event_json) if order.resume_event_json else None
        result = method(self._context, event=event, **kwargs)
        task.post_execute(self._context, result)
        return result

    def _success(self, task: BaseOperator, result: Any) -> inbox.TaskEnded:
        ended = inbox.TaskEnded(outcome=common.OUTCOME_SUCCESS, return_length=-1)
        if isinstance(result, list | tuple | dict | set | frozenset):
            ended.return_length = len(result)
        if self._work.order.reports_length and not isinstance(result, list | tuple | dict):
            raise UnmappableXCom(
                f"Task {task.task_id!r} returned {type(result).__name__}, but mapped tasks expand over it. "
                "Return a list or a dict."
            )
        if task.do_xcom_push and result is not None:
            if task.multiple_outputs:
                self._push_each(task, result)
            self._ti.xcom_push(RETURN_KEY, result)
        skipped = task.skip_after(self._context, result)
        if skipped:
            _log.info("These tasks will be skipped: %s", ", ".join(skipped[:50]))
            ended.skip_task_ids.extend(skipped)
        ended.asset_events.extend(self._context["outlet_events"].report())
        return ended

    def _push_each(self, task: BaseOperator, result: Any) -> None:
        if not isinstance(result, Mapping):
            raise SpinnerException(
                f"Task {task.task_id!r} has multiple_outputs but returned {type(result).__name__}. Return a dict."
            )
        for key, value in result.items():
            if not isinstance(key, str):
                raise SpinnerException(f"Task {task.task_id!r} has multiple_outputs and the key {key!r}. Use strings.")
            self._ti.xcom_push(key, value)


def _failed(work: Work, error: BaseException) -> inbox.TaskEnded:
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else (0 if error.code is None else 1)
        if code == 0:
            work.stages.results[-1].outcome = common.STAGE_OUTCOME_SUCCESS
            work.stages.results[-1].message = ""
            return inbox.TaskEnded(outcome=common.OUTCOME_SUCCESS, return_length=-1, message="Ended by sys.exit(0).")
        log_failure(error, "Task failed")
        ended = failure(work, error)
        ended.exit_code = code
        ended.message = f"The task called sys.exit({error.code!r})."
        return ended
    log_failure(error, "Task failed")
    return failure(work, error)


def _deferred(deferral: TaskDeferred) -> inbox.TaskDeferred:
    path, arguments = trigger_arguments(deferral.trigger)
    message = inbox.TaskDeferred(
        trigger_class=path,
        trigger_arguments_json=arguments,
        method_name=deferral.method_name,
        method_arguments_json=encode_json(deferral.kwargs, f"The arguments of {deferral.method_name}()"),
    )
    if deferral.timeout is not None:
        message.timeout.FromTimedelta(deferral.timeout)
    _log.info("Deferred: waiting for %s", path)
    return message


def _asked(needed: DecisionNeeded) -> inbox.TaskDeferred:
    message = inbox.TaskDeferred(method_name=needed.method_name)
    human = message.human
    human.kind, human.subject, human.body = needed.kind, needed.subject, needed.body
    human.options.extend(needed.options)
    human.defaults.extend(needed.defaults)
    human.multiple = needed.multiple
    human.assignees.extend(needed.assignees)
    if needed.params:
        human.params_json = encode_json(needed.params, "The form of the decision")
    if needed.timeout is not None:
        human.timeout.FromTimedelta(needed.timeout)
    _log.info("Waiting for a person: %s", needed.subject)
    return message


def _run_callbacks(callbacks: list[Any], context: dict[str, Any], name: str) -> str:
    problem = ""
    for callback in callbacks:
        try:
            callback(context)
        except Exception as error:  # noqa: BLE001 - user code
            _log.exception("%s %s failed", name, getattr(callback, "__name__", callback))
            problem = one_line(error)
    return problem
