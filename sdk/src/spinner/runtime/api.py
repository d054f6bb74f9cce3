"""The executor's calls in the words of operators: values instead of messages, None instead of "not found"."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from spinner_proto.common.v1 import common_pb2
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.core.values import decode_json, encode_json
from spinner.core.xcom_arg import RETURN_KEY
from spinner.exceptions import SpinnerException
from spinner.runtime.connection import CallError, Connection
from spinner.runtime.local_frames import Status

if TYPE_CHECKING:
    from spinner.connections import Connection as Credentials

MAX_XCOM_BYTES = 16 * 1024 * 1024
# Before a call is repeated that waits for somebody else.
_AGAIN_SECONDS = 0.5


class RuntimeApi:
    """One try's view of its executor. Every method blocks and may raise CallError."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def get_xcoms(
        self,
        task_id: str,
        key: str = RETURN_KEY,
        *,
        dag_id: str = "",
        run_id: str = "",
        map_indexes: Sequence[int] = (),
        map_length: int | None = None,
        include_prior_dates: bool = False,
    ) -> dict[int, Any]:
        """Values by map index; those that were never pushed are missing. With ``map_length`` of all instances."""
        request = pb.GetXComRequest(
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            key=key,
            map_indexes=map_indexes,
            all_map_indexes=map_length is not None,
            map_length=map_length or 0,
            include_prior_dates=include_prior_dates,
        )
        answer = self.connection.call("GetXCom", request, pb.GetXComResponse)
        return {value.map_index: decode_json(value.value_json) for value in answer.values if value.found}

    def set_xcom(self, key: str, value: Any, what: str) -> None:
        """Stores a value. Raises SpinnerException when it is not serializable or too large."""
        data = encode_json(value, what)
        if len(data) > MAX_XCOM_BYTES:
            raise SpinnerException(
                f"{what} is {len(data):,} bytes of JSON, more than the limit of {MAX_XCOM_BYTES:,}. "
                "Write it to a file or table and return its name."
            )
        self.connection.call("SetXCom", pb.SetXComRequest(key=key, value_json=data), pb.SetXComResponse)

    def get_variable(self, name: str) -> str | None:
        """A variable's text."""
        answer = self.connection.call("GetVariable", pb.GetVariableRequest(name=name), pb.GetVariableResponse)
        return answer.value if answer.found else None

    def set_variable(self, name: str, value: str | None) -> None:
        """Sets a variable; None deletes it."""
        request = pb.SetVariableRequest(name=name, value=value or "", delete=value is None)
        self.connection.call("SetVariable", request, pb.SetVariableResponse)

    def get_connection(self, connection_id: str) -> Credentials | None:
        """A connection."""
        from spinner.connections import Connection as Credentials

        answer = self.connection.call(
            "GetConnection", pb.GetConnectionRequest(connection_id=connection_id), pb.GetConnectionResponse
        )
        if not answer.found:
            return None
        return Credentials(
            conn_id=connection_id,
            conn_type=answer.type,
            host=answer.host or None,
            port=answer.port or None,
            schema=answer.schema or None,
            login=answer.login or None,
            password=answer.password or None,
            extra=answer.extra_json or None,
        )

    def trigger_dag_run(
        self,
        dag_id: str,
        *,
        run_id: str,
        logical_date: datetime | None,
        conf: dict[str, Any],
        note: str = "",
        reset: bool = False,
    ) -> str:
        """Starts a run, once its DAG's scheduler has taken the wish; returns its id. Blocks.

        With ``reset`` a run of that id starts again. Raises FileExistsError when there is one of that id or date.
        """
        try:
            conf_json = json.dumps(conf).encode()
        except (TypeError, ValueError) as error:
            raise SpinnerException(f"The conf for {dag_id} is not JSON: {error}") from error
        request = pb.TriggerDagRunRequest(dag_id=dag_id, run_id=run_id, conf_json=conf_json, note=note, reset=reset)
        if logical_date is not None:
            request.logical_date.FromDatetime(logical_date)
        try:
            while (answer := self.connection.call("TriggerDagRun", request, pb.TriggerDagRunResponse)).pending:
                time.sleep(_AGAIN_SECONDS)
            return answer.run_id or run_id
        except CallError as error:
            if error.status is Status.ALREADY_EXISTS:
                raise FileExistsError(error.message) from error
            raise

    def get_dag(self, dag_id: str) -> pb.GetDagResponse:
        """What is known of another DAG."""
        return self.connection.call("GetDag", pb.GetDagRequest(dag_id=dag_id), pb.GetDagResponse)

    def get_run_state(self, dag_id: str, run_id: str) -> str | None:
        """State of a run ("success"); None when there is no such run."""
        request = pb.GetRunStateRequest(dag_id=dag_id, run_id=run_id)
        answer = self.connection.call("GetRunState", request, pb.GetRunStateResponse)
        return run_state_name(answer.state) if answer.found else None

    def get_task_states(
        self, dag_id: str, *, logical_date: datetime, task_ids: Sequence[str] = (), run_id: str = ""
    ) -> list[str] | None:
        """States of the tasks' instances, or the run's own without task ids; None when there is no such run."""
        request = pb.GetTaskStatesRequest(dag_id=dag_id, run_id=run_id, task_ids=task_ids)
        request.logical_date.FromDatetime(logical_date)
        return states_of(self.connection.call("GetTaskStates", request, pb.GetTaskStatesResponse), task_ids)


def states_of(answer: pb.GetTaskStatesResponse, task_ids: Sequence[str]) -> list[str] | None:
    """An answer as state names; a task without instance counts as "none"."""
    if not answer.run_found:
        return None
    if not task_ids:
        return [run_state_name(answer.run_state)]
    known = {state.task_id for state in answer.states}
    states = [task_state_name(state.state) for state in answer.states if state.task_id in set(task_ids)]
    return states + ["none" for task_id in task_ids if task_id not in known]


def run_state_name(state: int) -> str:
    """ "success" for RUN_STATE_SUCCESS."""
    return common_pb2.RunState.Name(state).removeprefix("RUN_STATE_").lower()  # type: ignore[arg-type]


def task_state_name(state: int) -> str:
    """ "success" for TASK_STATE_SUCCESS."""
    return common_pb2.TaskState.Name(state).removeprefix("TASK_STATE_").lower()  # type: ignore[arg-type]
