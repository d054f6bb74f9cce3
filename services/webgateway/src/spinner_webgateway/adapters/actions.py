"""What people and programs can do, the same by REST and by gRPC: check, write the command, return its answer."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from spinner_proto.common.v1 import common_pb2
from spinner_proto.events.v1.events_pb2 import ClearPlan
from spinner_proto.inbox.v1 import inbox_pb2
from spinner_proto.scheduler.v1.scheduler_pb2 import PreviewClearRequest, PreviewClearResponse

from spinner_webgateway.adapters.commands import Commands, Placement, blob_of, new_command, placement_of
from spinner_webgateway.adapters.files import Files
from spinner_webgateway.adapters.owners import CALL_SECONDS, Owners
from spinner_webgateway.adapters.tables.dags import dags
from spinner_webgateway.adapters.views import decisions as decision_views
from spinner_webgateway.adapters.views import runs as run_views
from spinner_webgateway.adapters.views import tasks as task_views
from spinner_webgateway.adapters.views.definitions import Definitions
from spinner_webgateway.domain import words
from spinner_webgateway.domain.layout import DefinitionGraph
from spinner_webgateway.domain.params import check_decision, check_params
from spinner_webgateway.domain.problems import ProblemError, invalid, task_not_found
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.who import Caller

CONF_LIMIT_BYTES = 1024 * 1024
CONF_INLINE_BYTES = 16 * 1024
RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]{1,250}")
PREVIEW_LIMIT = 2000
"""Task instances listed in a preview; the count is always whole."""
NOTHING_TO_CLEAR = "NOTHING_TO_CLEAR"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which task instances of which runs."""

    task_ids: Sequence[str] = ()
    map_indexes: Sequence[int] = ()
    upstream: bool = False
    downstream: bool = False
    past: bool = False
    future: bool = False
    only_failed: bool = False
    latest_version: bool = False
    # With a clear: what the cleared task instances see instead of the run's conf.
    conf: dict[str, Any] | None = None


class Actions:
    """Every action of the gateway on DAGs and runs. Refusals are problems; access is the caller's business."""

    def __init__(
        self, engine: sa.Engine, definitions: Definitions, commands: Commands, files: Files, owners: Owners
    ) -> None:
        self._engine = engine
        self._owners = owners
        self._definitions = definitions
        self._commands = commands
        self._files = files

    async def set_paused(self, caller: Caller, dag_id: str, paused: bool, request_id: str | None = None) -> Row:
        command = new_command(caller, dag_id, request_id)
        command.set_paused.paused = paused
        return await self._send(command)

    async def trigger(
        self,
        caller: Caller,
        dag_id: str,
        run_id: str | None,
        logical_date: datetime | None,
        conf: dict[str, Any],
        note: str,
        request_id: str | None = None,
        partition_key: str = "",
    ) -> Row:
        """Starts a run. Its conf is in the object store before the command is in the log, when it is large."""
        if run_id and not RUN_ID.fullmatch(run_id):
            raise invalid(
                "RUN_ID_INVALID",
                f"run_id {run_id[:100]!r} of DAG {dag_id!r} is not valid.",
                "Use 1 to 250 of A-Z a-z 0-9 _ . ~ : + - or leave it out.",
            )
        placement = await asyncio.to_thread(self._placement_for, dag_id, conf)
        command = new_command(caller, dag_id, request_id)
        trigger = command.trigger_run
        trigger.run_id = run_id or ""
        trigger.note = note
        trigger.partition_key = partition_key
        trigger.run_type = common_pb2.RUN_TYPE_MANUAL
        if logical_date is not None:
            trigger.logical_date.CopyFrom(words.timestamp(logical_date))
        if conf:
            trigger.conf.CopyFrom(await self._stored(dag_id, conf))
        return await self._commands.send(command, placement, asked_before=request_id is not None)

    async def _stored(self, dag_id: str, conf: dict[str, Any]) -> common_pb2.Blob:
        """Returns a conf as commands carry it; a large one is in the object store then. Raises the 413 problem."""
        text = orjson.dumps(conf)
        if len(text) > CONF_LIMIT_BYTES:
            raise ProblemError(
                413,
                "CONF_TOO_LARGE",
                f"conf for a run of DAG {dag_id!r} has {len(text):,} bytes; the limit is {CONF_LIMIT_BYTES:,} (1 MiB).",
                "Put the data into the object store or a table, and pass its name in conf.",
            )
        digest = hashlib.sha256(text).hexdigest()
        key = f"conf/{dag_id}/{digest}.json"
        if len(text) > CONF_INLINE_BYTES:
            await asyncio.to_thread(self._files.write, key, text)
        return blob_of(text, key, digest, CONF_INLINE_BYTES)

    def check_params(self, dag_id: str, conf: dict[str, Any]) -> None:
        """Raises the 400 problem when conf doesn't fit the parameters of the DAG's current version. Blocks."""
        with self._engine.connect() as connection:
            version = connection.execute(sa.select(dags.c.version).where(dags.c.dag_id == dag_id)).scalar()
        graph = self._definitions.get(dag_id, version or "")
        if graph is not None:
            check_params(dag_id, graph.definition.params_json, conf)

    async def clear(
        self, caller: Caller, dag_id: str, run_id: str, wanted: Selection, dry_run: bool, request_id: str | None = None
    ) -> ClearPlan:
        """Clears task instances so that they run again; returns what that does. A dry run only asks the scheduler."""
        await asyncio.to_thread(self._check_tasks, dag_id, run_id, wanted.task_ids)
        if wanted.conf is not None:
            await asyncio.to_thread(self.check_params, dag_id, wanted.conf)
        wish = inbox_pb2.ClearTasks(
            run_id=run_id,
            task_ids=wanted.task_ids,
            map_indexes=wanted.map_indexes,
            upstream=wanted.upstream,
            downstream=wanted.downstream,
            past=wanted.past,
            future=wanted.future,
            only_failed=wanted.only_failed,
            latest_version=wanted.latest_version,
        )
        if dry_run:
            return await self._preview(dag_id, wish)
        command = new_command(caller, dag_id, request_id)
        command.clear_tasks.CopyFrom(wish)
        if wanted.conf is not None:
            command.clear_tasks.task_conf.CopyFrom(await self._stored(dag_id, wanted.conf))
        answer = await self._send(command)
        plan = ClearPlan.FromString(answer["plan"] or b"")
        plan.task_count = answer["task_count"]
        return plan

    async def _preview(self, dag_id: str, wish: inbox_pb2.ClearTasks) -> ClearPlan:
        partition = (await self._placement(dag_id)).name
        request = PreviewClearRequest(dag_id=dag_id, partition=partition, clear_tasks=wish, max_tasks=PREVIEW_LIMIT)
        try:
            answer: PreviewClearResponse = await self._owners.ask(
                partition, lambda stub: stub.PreviewClear(request, timeout=CALL_SECONDS)
            )
            return answer.plan
        except ProblemError as problem:
            if problem.code == NOTHING_TO_CLEAR:
                return ClearPlan()
            raise

    async def mark_tasks(
        self, caller: Caller, dag_id: str, run_id: str, wanted: Selection, state: str, request_id: str | None = None
    ) -> Row:
        if not wanted.task_ids:
            raise invalid("TASKS_MISSING", "task_ids is empty: nothing to mark.", "Name the tasks, or mark the run.")
        await asyncio.to_thread(self._check_tasks, dag_id, run_id, wanted.task_ids)
        command = new_command(caller, dag_id, request_id)
        command.mark_tasks.CopyFrom(
            inbox_pb2.MarkTasks(
                run_id=run_id,
                task_ids=wanted.task_ids,
                map_indexes=wanted.map_indexes,
                state=words.TASK_STATES[state],
                upstream=wanted.upstream,
                downstream=wanted.downstream,
                past=wanted.past,
                future=wanted.future,
            )
        )
        return await self._send(command)

    async def mark_run(
        self, caller: Caller, dag_id: str, run_id: str, state: str, request_id: str | None = None
    ) -> Row:
        await asyncio.to_thread(self._find, dag_id, run_id)
        command = new_command(caller, dag_id, request_id)
        command.mark_run.CopyFrom(inbox_pb2.MarkRun(run_id=run_id, state=words.RUN_STATES[state]))
        return await self._send(command)

    async def stop_run(self, caller: Caller, dag_id: str, run_id: str, request_id: str | None = None) -> Row:
        await asyncio.to_thread(self._find, dag_id, run_id)
        command = new_command(caller, dag_id, request_id)
        command.stop_run.run_id = run_id
        return await self._send(command)

    async def kill_tasks(
        self, caller: Caller, dag_id: str, run_id: str, wanted: Selection, request_id: str | None = None
    ) -> Row:
        """Ends tries in progress as failed, without a retry."""
        if not wanted.task_ids:
            raise invalid("TASKS_MISSING", "task_ids is empty: nothing to kill.", "Name the tasks, or stop the run.")
        await asyncio.to_thread(self._check_tasks, dag_id, run_id, wanted.task_ids)
        command = new_command(caller, dag_id, request_id)
        command.kill_tasks.CopyFrom(
            inbox_pb2.KillTasks(run_id=run_id, task_ids=wanted.task_ids, map_indexes=wanted.map_indexes)
        )
        return await self._send(command)

    async def decide(
        self,
        caller: Caller,
        key: tuple[str, str, str, int],
        options: Sequence[str],
        params: dict[str, Any],
        note: str,
        request_id: str | None = None,
    ) -> Row:
        """Answers what a task asks. The first answer counts."""
        dag_id, run_id, task_id, map_index = key
        await asyncio.to_thread(self._check_decision, key, options, params)
        command = new_command(caller, dag_id, request_id)
        command.decide_task.CopyFrom(
            inbox_pb2.DecideTask(
                run_id=run_id,
                task_id=task_id,
                map_index=map_index,
                chosen_options=options,
                params_json=orjson.dumps(params) if params else b"",
                note=note,
            )
        )
        return await self._send(command)

    def _check_decision(self, key: tuple[str, str, str, int], options: Sequence[str], params: dict[str, Any]) -> None:
        """Raises the 400 problem for an answer that doesn't fit; whether it still waits, the scheduler knows."""
        with self._engine.connect() as connection:
            try:
                asked = decision_views.find(connection, *key)
            except ProblemError:
                return
        if asked["state"] == "waiting":
            check_decision(asked, options, params)

    def _refuse_unknown(
        self, connection: sa.Connection, run: Row, graph: DefinitionGraph | None, task_ids: Sequence[str]
    ) -> None:
        unknown = [name for name in task_ids if graph is None or name not in graph.index]
        if unknown:
            present = {row["task_id"] for row in task_views.all_rows(connection, run, unknown[:500])}
            missing = next((name for name in unknown if name not in present), None)
            if missing is not None:
                raise task_not_found(run["dag_id"], run["run_id"], missing, -1)

    def _check_tasks(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        with self._engine.connect() as connection:
            run = run_views.find(connection, dag_id, run_id)
            self._refuse_unknown(connection, run, self._definitions.get(dag_id, run["version"]), task_ids)

    def _find(self, dag_id: str, run_id: str) -> Row:
        with self._engine.connect() as connection:
            return run_views.find(connection, dag_id, run_id)

    def _placement_for(self, dag_id: str, conf: dict[str, Any]) -> Placement:
        """Where a run with this conf is asked for. Raises the problems of an unknown DAG and a wrong conf. Blocks."""
        with self._engine.connect() as connection:
            placement = placement_of(connection, dag_id)
        self.check_params(dag_id, conf)
        return placement

    async def _placement(self, dag_id: str) -> Placement:
        def read() -> Placement:
            with self._engine.connect() as connection:
                return placement_of(connection, dag_id)

        return await asyncio.to_thread(read)

    async def _send(self, command: inbox_pb2.Command) -> Row:
        return await self._commands.send(command, await self._placement(command.dag_id))
