"""What a worker asks about other DAGs: to start a run of one, and what it is made of.

A trigger is answered as the DAG's scheduler answers it, which may take longer than a call may: then the worker repeats
the call. The command's request id is a function of the call, so it is carried out once however often it is repeated.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from spinner.core.params import values_problem
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1.common_pb2 import Actor, Blob, ObjectRef, Placement, RunType, TaskKey
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import ClearTasks, Command, InboxMessage, TriggerRun
from spinner_proto.runtime.v1 import runtime_pb2 as rt
from spinner_servicekit.errors import Rejected

from spinner_executor.adapters.runs import VIA, Answer, RunsView
from spinner_executor.adapters.views import SharedView
from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try
from spinner_executor.domain import keys
from spinner_executor.domain.clock import datetime_of, timestamp

MAX_CONF_BYTES = 1024 * 1024
INLINE_CONF_BYTES = 16 * 1024
# A worker's call may take three times as long.
_ANSWER_SECONDS = 10.0

R = TypeVar("R")


class DagCalls:
    """Runs on the event loop."""

    def __init__(self, context: Context, shared: SharedView, runs: RunsView) -> None:
        self._context = context
        self._shared = shared
        self._runs = runs

    async def _blocking(self, function: Callable[..., R], *arguments: object) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._context.pool, functools.partial(function, *arguments))

    async def trigger_dag_run(self, tried: Try, request: rt.TriggerDagRunRequest) -> rt.TriggerDagRunResponse:
        if not self._shared.ready.is_set():
            await self._blocking(self._shared.wait_ready)
        placement = self._shared.placement(request.dag_id)
        if placement is None:
            raise Rejected("NOT_FOUND", f"there is no DAG {request.dag_id!r}", fix="check its id, and that it parses")
        conf = await self._packed_conf(request.dag_id, request.conf_json)
        _check_params(request.dag_id, self._shared.params_json(request.dag_id), request.conf_json)
        own, order = tried.order.try_key, tried.order
        identity = keys.triggered_request(tried.key, order.segment, request.dag_id, request.run_id, request.conf_json)
        ordered = datetime_of(order.ordered_time) or datetime_of(order.logical_date) or datetime.now(UTC)
        run_id = request.run_id or f"triggered__{ordered.isoformat()}_{identity.hex[:8]}"
        trigger = TriggerRun(
            run_id=run_id,
            note=request.note,
            run_type=RunType.RUN_TYPE_TRIGGERED,
            conf=conf,
            triggered_by=TaskKey(dag_id=own.dag_id, run_id=own.run_id, task_id=own.task_id, map_index=own.map_index),
        )
        if request.HasField("logical_date"):
            trigger.logical_date.CopyFrom(request.logical_date)
        answer = await self._ask(tried, placement, identity, Command(dag_id=request.dag_id, trigger_run=trigger))
        if answer is not None and answer.code == "RUN_EXISTS" and request.reset:
            clear = Command(dag_id=request.dag_id, clear_tasks=ClearTasks(run_id=run_id))
            answer = await self._ask(tried, placement, keys.reset_request(identity), clear)
        if answer is None:
            return rt.TriggerDagRunResponse(run_id=run_id, pending=True)
        if answer.code:
            code = "ALREADY_EXISTS" if answer.code == "RUN_EXISTS" else "FAILED_PRECONDITION"
            raise Rejected(code, answer.message, reason=answer.code)
        return rt.TriggerDagRunResponse(run_id=run_id)

    async def _ask(self, tried: Try, placement: Placement, request_id: uuid.UUID, command: Command) -> Answer | None:
        """Sends a command to a DAG's scheduler; its answer, None when there is none yet."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[Answer] = loop.create_future()

        def settle(answer: Answer) -> None:
            if not heard.done():
                heard.set_result(answer)

        def tell(answer: Answer) -> None:
            loop.call_soon_threadsafe(settle, answer)

        ignore = self._runs.listen(str(request_id), tell)
        try:
            await asyncio.sleep(0)
            if not heard.done():
                command.request_id = str(request_id)
                command.actor.CopyFrom(Actor(name=f"task:{tried.key}", via=VIA))
                command.time.CopyFrom(timestamp(datetime.now(UTC)))
                topic = f"scheduler_inbox-{placement.cluster}_tier_{placement.tier}"
                message = InboxMessage(command=command)
                await self._context.reporter.send(Outgoing(topic, command.dag_id, message, placement.partition))
            return await asyncio.wait_for(heard, _ANSWER_SECONDS)
        except TimeoutError:
            return None
        finally:
            ignore()

    async def _packed_conf(self, dag_id: str, conf: bytes) -> Blob:
        if len(conf) > MAX_CONF_BYTES:
            raise Rejected(
                "INVALID_ARGUMENT", f"conf has {len(conf)} bytes, more than the limit of {MAX_CONF_BYTES}",
                fix="pass large data by address", reason="CONF_TOO_LARGE",
            )  # fmt: skip
        try:
            valid = isinstance(json.loads(conf or b"{}"), dict)
        except ValueError:
            valid = False
        if not valid:
            raise Rejected("INVALID_ARGUMENT", "conf is not a JSON object", fix='write it like {"day": "2026-01-01"}')
        if len(conf) <= INLINE_CONF_BYTES:
            return Blob(inline=conf, media_type="application/json")
        digest = hashlib.sha256(conf).hexdigest()
        key = f"conf/{dag_id}/{digest}.json"
        await self._blocking(self._context.objects.put, key, conf)
        return Blob(object=ObjectRef(key=key, size=len(conf), sha256=digest), media_type="application/json")

    async def get_dag(self, _: Try, request: rt.GetDagRequest) -> rt.GetDagResponse:
        await self._blocking(self._runs.ensure_started)
        if not self._shared.ready.is_set():
            await self._blocking(self._shared.wait_ready)
        removed = self._runs.removed(request.dag_id)
        answer = rt.GetDagResponse(removed=removed)
        answer.found = not removed and self._shared.placement(request.dag_id) is not None
        definition = await self._blocking(self._shared.definition, request.dag_id) if answer.found else None
        if definition is not None and not definition.dynamic:
            _describe(definition, answer)
        return answer


def _describe(definition: DagDefinition, answer: rt.GetDagResponse) -> None:
    parents = {group.group_id: group.parent_id for group in definition.task_groups}
    answer.tasks_known = True
    answer.group_ids.extend(parents)
    for task in definition.tasks:
        told, group = answer.tasks.add(task_id=task.task_id), task.group_id
        while group:
            told.group_ids.append(group)
            group = parents.get(group, "")


def _check_params(dag_id: str, params_json: str, conf: bytes) -> None:
    """Refuses a conf that doesn't fit the parameters of the DAG that is triggered."""
    found = values_problem(json.loads(params_json or "{}"), json.loads(conf or b"{}"))
    if found is not None:
        reason = "PARAM_MISSING" if found.kind == "missing" else "PARAM_INVALID"
        what = f"parameter {found.name!r} of DAG {dag_id!r}: {found.what.removesuffix('.')}"
        raise Rejected("INVALID_ARGUMENT", what, fix=found.fix, reason=reason)
