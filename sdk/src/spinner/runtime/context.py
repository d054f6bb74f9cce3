"""The template context of a try, with Airflow's names: ``ti``, ``dag_run``, ``ds``, ``params``, ``var`` …"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp
from spinner_proto.common.v1 import common_pb2

from spinner import macros
from spinner.connections import ConnectionAccessor
from spinner.core.xcom_arg import RETURN_KEY, elements
from spinner.exceptions import SpinnerException, XComNotFound
from spinner.runtime.assets import AssetEvents, OutletEvents
from spinner.variables import VariableContext

if TYPE_CHECKING:
    from spinner_proto.orders.v1.orders_pb2 import TaskOrder

    from spinner.core.dag import DAG
    from spinner.core.operator import BaseOperator
    from spinner.runtime.api import RuntimeApi
    from spinner.runtime.templates import Renderer

_log = logging.getLogger("spinner.task")


def moment(order: TaskOrder, field: str) -> datetime | None:
    """A time of the order, aware; None when it is unset."""
    if not order.HasField(field):  # type: ignore[arg-type]
        return None
    value: Timestamp = getattr(order, field)
    return value.ToDatetime(tzinfo=UTC)


class DagRun:
    """The run that a try belongs to."""

    def __init__(self, order: TaskOrder, conf: dict[str, Any]) -> None:
        self.dag_id = order.try_key.dag_id
        self.run_id = order.try_key.run_id
        self.run_type = common_pb2.RunType.Name(order.run_type).removeprefix("RUN_TYPE_").lower()
        self.conf = conf
        self.partition_key = order.partition_key or None
        self.logical_date = moment(order, "logical_date")
        self.execution_date = self.logical_date
        self.data_interval_start = moment(order, "data_interval_start")
        self.data_interval_end = moment(order, "data_interval_end")
        self.run_after = moment(order, "run_after") or self.logical_date
        self.start_date = moment(order, "run_start_time")
        self.state = "running"

    @property
    def external_trigger(self) -> bool:
        """Whether somebody started it by hand."""
        return self.run_type in ("manual", "triggered")

    def __repr__(self) -> str:
        return f"<DagRun {self.dag_id} {self.run_id}>"


class TaskInstance:
    """The running try: what it is, and its XComs."""

    log = _log
    state = "running"

    def __init__(self, order: TaskOrder, dag: DAG, task: BaseOperator, api: RuntimeApi, started: datetime) -> None:
        key = order.try_key
        self.dag_id, self.run_id, self.task_id = key.dag_id, key.run_id, key.task_id
        self.map_index, self.try_number = key.map_index, key.try_number
        self.segment = order.segment
        self.max_tries = order.max_tries
        self.pool, self.queue = order.pool, order.queue
        self.operator = task.task_type
        self.task = task
        self.dag = dag
        self.start_date = started
        self.first_start_time = moment(order, "first_start_time") or started
        self.dag_run: DagRun | None = None
        self.renderer: Renderer | None = None
        self.rendered: dict[str, Any] = {}
        self._api = api
        self._map_lengths = dict(order.upstream_map_lengths)
        self._own_map_length = order.map_length
        self._params: dict[str, Any] = {}

    @property
    def key_text(self) -> str:
        """The try's key."""
        return f"{self.dag_id}/{self.run_id}/{self.task_id}/{self.map_index}/{self.try_number}"

    def set_params(self, params: dict[str, Any]) -> None:
        """The run's parameters."""
        self._params = params

    def render(self, text: str) -> Any:
        """A text rendered with the context."""
        return self.renderer.render(text) if self.renderer else text

    def add_rendered(self, field: str, value: Any) -> None:
        """Shows a value beside the rendered template fields."""
        self.rendered[field] = value

    # XComs.

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        """Stores a value under ``key``. Raises ValueNotSerializable."""
        self._api.set_xcom(key, value, f"The XCom {key!r} of task {self.task_id!r}")

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = RETURN_KEY,
        include_prior_dates: bool = False,
        *,
        map_indexes: int | Iterable[int] | None = None,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """What a task pushed; a list for several tasks, map indexes, or a mapped task; ``default`` when nothing was.

        Without ``task_ids`` the task's own.
        """
        if task_ids is not None and not isinstance(task_ids, str):
            return [
                self.xcom_pull(task_id, dag_id, key, include_prior_dates, map_indexes=map_indexes, default=default,
                               run_id=run_id)
                for task_id in task_ids
            ]  # fmt: skip
        task_id = task_ids if task_ids is not None else self.task_id
        if map_indexes is None and task_ids is None and self.map_index >= 0:
            map_indexes = self.map_index
        options: dict[str, Any] = {
            "dag_id": dag_id or "", "run_id": run_id or "", "include_prior_dates": include_prior_dates,
        }  # fmt: skip
        if isinstance(map_indexes, int):
            found = self._api.get_xcoms(task_id, key, map_indexes=[map_indexes], **options)
            return found.get(map_indexes, default)
        if map_indexes is not None:
            wanted: Sequence[int] = list(map_indexes)
            found = self._api.get_xcoms(task_id, key, map_indexes=wanted, **options)
            return [found[index] for index in wanted if index in found]
        if dag_id in (None, self.dag_id) and run_id in (None, self.run_id) and self._is_mapped(task_id):
            if self._shares_group(task_id):
                return self._api.get_xcoms(task_id, key, map_indexes=[self.map_index], **options).get(
                    self.map_index, default
                )
            found = self._api.get_xcoms(task_id, key, map_length=self._map_length(task_id), **options)
            return [found[index] for index in sorted(found)]
        return self._api.get_xcoms(task_id, key, **options).get(-1, default)

    def _is_mapped(self, task_id: str) -> bool:
        task = self.dag.task_dict.get(task_id)
        return task is not None and (task.is_mapped or task.mapped_group() is not None)

    def _shares_group(self, task_id: str) -> bool:
        group = self.dag.task_dict[task_id].mapped_group()
        return group is not None and group is self.task.mapped_group()

    def _map_length(self, task_id: str) -> int:
        known = self._map_lengths.get(task_id)
        if known is None:
            if self.dag_run is None or self.dag_run.logical_date is None:
                raise XComNotFound(f"The number of instances of {task_id!r} is not known.")
            states = self._api.get_task_states(
                self.dag_id, run_id=self.run_id, logical_date=self.dag_run.logical_date, task_ids=[task_id]
            )
            known = self._map_lengths[task_id] = len(states or ())
        return known

    # ValueSource.

    def pull(self, operator: BaseOperator, key: str) -> Any:
        """See ValueSource."""
        missing = object()
        value = self.xcom_pull(operator.task_id, key=key, default=missing)
        if value is missing:
            if key == RETURN_KEY:
                return None
            raise XComNotFound(f"Task {operator.task_id!r} pushed nothing under the key {key!r}.")
        return value

    def pull_item(self, operator: BaseOperator, index: int) -> Any:
        """See ValueSource."""
        if self._is_mapped(operator.task_id) and not self._shares_group(operator.task_id):
            found = self._api.get_xcoms(operator.task_id, map_indexes=[index])
            if index not in found:
                raise XComNotFound(f"Instance {index} of {operator.task_id!r} returned nothing.")
            return found[index]
        values = elements(self.pull(operator, RETURN_KEY) or ())
        if index >= len(values):
            raise XComNotFound(
                f"Task {operator.task_id!r} returned {len(values)} elements; there is no number {index}."
            )
        return values[index]

    def count(self, operator: BaseOperator) -> int:
        """See ValueSource."""
        if self._is_mapped(operator.task_id) and not self._shares_group(operator.task_id):
            return self._map_length(operator.task_id)
        return len(self.pull(operator, RETURN_KEY) or ())

    def param(self, name: str) -> Any:
        """See ValueSource."""
        return self._params[name]

    @property
    def expanded_count(self) -> int:
        """Number of instances of this task."""
        return self._own_map_length or 1

    def __repr__(self) -> str:
        return f"<TaskInstance: {self.key_text}>"


def parse_conf(conf_json: bytes) -> dict[str, Any]:
    """The run's conf. Raises SpinnerException when it is no JSON object."""
    try:
        conf = json.loads(conf_json) if conf_json else {}
    except ValueError as error:
        raise SpinnerException(f"The run's conf is not JSON: {error}") from error
    if not isinstance(conf, dict):
        raise SpinnerException(f"The run's conf is {type(conf).__name__}, not a JSON object.")
    return conf


def build_context(order: TaskOrder, dag: DAG, task: BaseOperator, ti: TaskInstance, run: DagRun) -> dict[str, Any]:
    """The context. Raises ParamValidationError when the conf does not fit the params."""
    params = {**dag.params.with_conf(run.conf), **task.params.with_conf(run.conf)}
    ti.dag_run = run
    ti.set_params(params)
    context = run_context(order, dag, run, params)
    context.update(
        task=task,
        ti=ti,
        task_instance=ti,
        task_instance_key_str=f"{run.dag_id}__{task.task_id}__{context['ds_nodash']}",
        try_number=ti.try_number,
        inlets=task.inlets,
        outlets=task.outlets,
        outlet_events=OutletEvents(task.outlets),
        inlet_events=AssetEvents(order.asset_events),
        map_index_template=task.map_index_template,
        expanded_ti_count=ti.expanded_count if ti.map_index >= 0 else None,
        start_date=ti.start_date,
        templates_dict=None,
        task_reschedule_count=ti.segment,
    )
    return context


def run_context(order: TaskOrder, dag: DAG, run: DagRun, params: dict[str, Any]) -> dict[str, Any]:
    """The part of the context that is the same for all tasks of a run."""
    date = run.logical_date or run.run_after or datetime.now(UTC)
    ds, ts = date.strftime("%Y-%m-%d"), date.isoformat()
    previous = moment(order, "previous_success_logical_date")
    context = {
        "dag": dag,
        "dag_run": run,
        "run_id": run.run_id,
        "conf": run.conf,
        "partition_key": run.partition_key,
        "params": params,
        "logical_date": date,
        "execution_date": date,
        "data_interval_start": run.data_interval_start,
        "data_interval_end": run.data_interval_end,
        "ds": ds,
        "ds_nodash": ds.replace("-", ""),
        "ts": ts,
        "ts_nodash": date.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
        "yesterday_ds": (date - timedelta(days=1)).strftime("%Y-%m-%d"),
        "yesterday_ds_nodash": (date - timedelta(days=1)).strftime("%Y%m%d"),
        "tomorrow_ds": (date + timedelta(days=1)).strftime("%Y-%m-%d"),
        "tomorrow_ds_nodash": (date + timedelta(days=1)).strftime("%Y%m%d"),
        "prev_execution_date_success": previous,
        "prev_logical_date_success": previous,
        "prev_data_interval_start_success": moment(order, "previous_success_interval_start"),
        "prev_data_interval_end_success": moment(order, "previous_success_interval_end"),
        "macros": macros,
        "var": VariableContext(),
        "conn": ConnectionAccessor(),
        "test_mode": False,
        "triggering_asset_events": AssetEvents(order.asset_events),
    }
    context["context"] = context
    return context
