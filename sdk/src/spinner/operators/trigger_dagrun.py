"""Start a run of another DAG, and wait for it if wanted."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from spinner.core.operator import BaseOperator, Context
from spinner.exceptions import SkipTask, SpinnerDagError, SpinnerException
from spinner.triggers.external import DagRunTrigger


class TriggerDagRunOperator(BaseOperator):
    """Triggers ``trigger_dag_id`` with ``conf``; returns nothing, and pushes the run's id as XCom ``trigger_run_id``.

    With ``wait_for_completion`` it asks every ``poke_interval`` seconds until the run is in ``allowed_states``, and
    fails when it is in ``failed_states``; with ``deferrable`` it is told of the run's end, without a worker meanwhile.
    When there is a run of that id or logical date it fails; with ``skip_when_already_exists`` it is skipped, and with
    ``reset_dag_run`` the run of that id starts again, with the conf that it has.
    """

    template_fields: Sequence[str] = (
        "trigger_dag_id", "trigger_run_id", "logical_date", "conf", "wait_for_completion", "skip_when_already_exists",
        "note",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"conf": "py"}
    ui_color = "#ffefeb"

    def __init__(
        self,
        *,
        trigger_dag_id: str,
        trigger_run_id: str | None = None,
        conf: Any = None,
        logical_date: str | datetime | None = None,
        execution_date: str | datetime | None = None,
        reset_dag_run: bool = False,
        wait_for_completion: bool = False,
        poke_interval: float = 60,
        allowed_states: Sequence[str] | None = None,
        failed_states: Sequence[str] | None = None,
        skip_when_already_exists: bool = False,
        deferrable: bool = False,
        note: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trigger_dag_id = trigger_dag_id
        self.trigger_run_id = trigger_run_id
        self.conf = conf
        self.logical_date = logical_date or execution_date
        self.reset_dag_run = reset_dag_run
        self.wait_for_completion = wait_for_completion
        self.poke_interval = poke_interval
        self.allowed_states = list(allowed_states) if allowed_states is not None else ["success"]
        self.failed_states = list(failed_states) if failed_states is not None else ["failed"]
        self.skip_when_already_exists = skip_when_already_exists
        self.deferrable = deferrable
        self.note = note
        both = set(self.allowed_states) & set(self.failed_states)
        if both:
            raise SpinnerDagError(
                f"Task {self.task_id!r} has {', '.join(sorted(both))} in allowed_states and failed_states.",
                "Keep each state in one of them.",
            )

    def execute(self, context: Context) -> None:
        from spinner.runtime.current import current_api

        conf = self._conf()
        run_id = self.trigger_run_id or _run_id(context)
        try:
            run_id = current_api().trigger_dag_run(
                self.trigger_dag_id, run_id=run_id, logical_date=self._date(), conf=conf, note=self.note,
                reset=self.reset_dag_run,
            )  # fmt: skip
        except FileExistsError as error:
            if self.skip_when_already_exists and not self.reset_dag_run:
                raise SkipTask(str(error)) from error
            raise SpinnerException(str(error)) from error
        context["ti"].xcom_push("trigger_run_id", run_id)
        context["ti"].log.info("Triggered %s, run %s", self.trigger_dag_id, run_id)
        if not self.wait_for_completion:
            return
        self._wait(run_id)

    def _wait(self, run_id: str) -> None:
        from spinner.runtime.current import current_api

        while not self._ended(current_api().get_run_state(self.trigger_dag_id, run_id), run_id):
            if self.deferrable:
                self.defer(
                    trigger=DagRunTrigger(self.trigger_dag_id, run_id, [*self.allowed_states, *self.failed_states]),
                    method_name="execute_complete",
                    kwargs={"run_id": run_id},
                )
            time.sleep(self.poke_interval)

    def execute_complete(self, context: Context, event: Any = None, *, run_id: str) -> None:
        """Goes on with the state in which the other run ended."""
        if not isinstance(event, dict) or not self._ended(event.get("state"), run_id):
            self._wait(run_id)

    def _ended(self, state: str | None, run_id: str) -> bool:
        if state in self.failed_states:
            raise SpinnerException(f"Run {run_id} of {self.trigger_dag_id} is {state}. Look at that run for the cause.")
        return state in self.allowed_states

    def _conf(self) -> dict[str, Any]:
        conf = self.conf
        if isinstance(conf, str):
            try:
                conf = json.loads(conf) if conf.strip() else {}
            except ValueError as error:
                raise SpinnerException(f"conf of task {self.task_id!r} is not JSON: {error}") from error
        if conf is None:
            return {}
        if not isinstance(conf, dict):
            raise SpinnerException(f"conf of task {self.task_id!r} is {conf!r}. Give a dict that is a JSON object.")
        return conf

    def _date(self) -> datetime | None:
        if isinstance(self.logical_date, str):
            from spinner.utils.timezone import parse

            return parse(self.logical_date)
        return self.logical_date


def _run_id(context: Context) -> str:
    """One id for each try, so that a retry of a triggering task makes a new run."""
    import hashlib

    ti = context["ti"]
    key = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}/{ti.try_number}"
    moment = ti.start_date.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    return f"triggered__{moment}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"
