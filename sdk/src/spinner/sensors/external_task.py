"""Wait for tasks, or the whole run, of another DAG."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from spinner.core.calls import call_with_context
from spinner.core.operator import Context
from spinner.exceptions import SkipTask, SpinnerDagError, SpinnerException, TaskDeferralTimeout
from spinner.sensors.base import BaseSensorOperator
from spinner.triggers.external import ExternalTaskTrigger


class ExternalTaskSensor(BaseSensorOperator):
    """Waits for the run of ``external_dag_id`` with the same logical date.

    The date can be moved by ``execution_delta`` (subtracted) or computed by ``execution_date_fn`` (one or several
    dates). Without task ids the state of the run counts; with ``external_task_group_id`` that of the group's tasks.
    ``failed_states`` fail and ``skipped_states`` skip at once. With ``check_existence`` it fails at the first look when
    the DAG, a task or the group isn't there; without, DAG and tasks are waited for. The tasks of a dynamic DAG are not
    known before its runs.
    With ``deferrable`` it is told when they change, without a worker; ``poll_interval`` is Airflow's and has no use.
    """

    template_fields: Sequence[str] = ("external_dag_id", "external_task_id", "external_task_ids")

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str | None = None,
        external_task_ids: Collection[str] | None = None,
        external_task_group_id: str | None = None,
        allowed_states: Sequence[str] | None = None,
        skipped_states: Sequence[str] | None = None,
        failed_states: Sequence[str] | None = None,
        execution_delta: timedelta | None = None,
        execution_date_fn: Callable[..., Any] | None = None,
        check_existence: bool = False,
        poll_interval: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.external_dag_id = external_dag_id
        self.external_task_id = external_task_id
        self.external_task_ids = external_task_ids
        self.external_task_group_id = external_task_group_id
        self.allowed_states = list(allowed_states) if allowed_states is not None else ["success"]
        self.skipped_states = list(skipped_states or ())
        self.failed_states = list(failed_states or ())
        self.execution_delta = execution_delta
        self.execution_date_fn = execution_date_fn
        self.check_existence = check_existence
        self.poll_interval = poll_interval
        self._checked = False
        named = {"external_task_id": external_task_id, "external_task_ids": external_task_ids}
        if external_task_group_id is not None and (twice := [name for name in named if named[name] is not None]):
            raise SpinnerDagError(
                f"Sensor {self.task_id!r} has external_task_group_id and {twice[0]}.", "Use only one of them."
            )
        if external_task_id is not None and external_task_ids is not None:
            raise SpinnerDagError(
                f"Sensor {self.task_id!r} has external_task_id and external_task_ids.", "Use only one of them."
            )
        if execution_delta is not None and execution_date_fn is not None:
            raise SpinnerDagError(
                f"Sensor {self.task_id!r} has execution_delta and execution_date_fn.", "Use only one of them."
            )

    def _task_ids(self) -> list[str]:
        if self.external_task_id is not None:
            return [self.external_task_id]
        if self.external_task_group_id is None:
            return list(self.external_task_ids or ())
        from spinner.runtime.current import current_api

        group, dag = self.external_task_group_id, current_api().get_dag(self.external_dag_id)
        found = [task.task_id for task in dag.tasks if group in task.group_ids]
        if not found:
            raise SpinnerException(
                f"The task group {group!r} of DAG {self.external_dag_id!r} has no tasks that are known. Check both ids."
            )
        return found

    def _check(self) -> None:
        """Fails when what is waited for isn't there."""
        from spinner.runtime.current import current_api

        if self._checked or not self.check_existence:
            return
        self._checked = True
        dag = current_api().get_dag(self.external_dag_id)
        if dag.removed:
            self._missing(f"The external DAG {self.external_dag_id!r} was removed.")
        if not dag.found:
            self._missing(f"The external DAG {self.external_dag_id!r} does not exist.")
        if not dag.tasks_known:
            return
        known, groups = {task.task_id for task in dag.tasks}, set(dag.group_ids)
        wanted = [self.external_task_id] if self.external_task_id is not None else self.external_task_ids or ()
        for task_id in wanted:
            if task_id not in known:
                self._missing(f"The external task {task_id!r} in DAG {self.external_dag_id!r} does not exist.")
        if self.external_task_group_id is not None and self.external_task_group_id not in groups:
            self._missing(
                f"The external task group {self.external_task_group_id!r} in DAG {self.external_dag_id!r} does not "
                "exist."
            )

    def _missing(self, what: str) -> None:
        if self.soft_fail:
            raise SkipTask(f"{what} soft_fail is set.")
        raise SpinnerException(f"{what} Mend the sensor's ids, or leave out check_existence to wait for it.")

    def _dates(self, context: Context) -> list[datetime]:
        date: datetime = context["logical_date"]
        if self.execution_delta is not None:
            return [date - self.execution_delta]
        if self.execution_date_fn is not None:
            answer = call_with_context(self.execution_date_fn, [date], {}, context)
            return list(answer) if isinstance(answer, list | tuple) else [answer]
        return [date]

    def poke(self, context: Context) -> bool:
        from spinner.runtime.current import current_api

        self._check()
        done, task_ids = True, self._task_ids()
        for date in self._dates(context):
            states = current_api().get_task_states(self.external_dag_id, logical_date=date, task_ids=task_ids)
            done = self._judge(states, date) and done
        return done

    def _judge(self, states: list[str] | None, date: datetime) -> bool:
        if states is None:
            return False
        where = f"{self.external_dag_id} at {date.isoformat()}"
        for state in states:
            if state in self.failed_states:
                if self.soft_fail:
                    raise SkipTask(f"{where} is {state}, and soft_fail is set.")
                raise SpinnerException(f"{where} is {state}, which is one of failed_states. Look at that run.")
            if state in self.skipped_states:
                raise SkipTask(f"{where} is {state}, which is one of skipped_states.")
        return bool(states) and all(state in self.allowed_states for state in states)

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        if self._ask(context):
            return None
        if not self.remaining(context):
            raise self.resume_failed(TaskDeferralTimeout(f"Sensor {self.task_id!r} has waited {self.timeout:.0f} s."))
        trigger = ExternalTaskTrigger(
            self.external_dag_id,
            self._dates(context),
            self._task_ids(),
            self.allowed_states,
            [*self.failed_states, *self.skipped_states],
        )
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=self.remaining(context))

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Goes on when the other runs are as wanted, or will never be."""
        if not isinstance(event, dict):
            return self.execute(context)
        if event.get("state"):
            self._judge([event["state"]], event["logical_date"])
        return None
