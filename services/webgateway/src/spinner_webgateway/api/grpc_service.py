"""gRPC: the gateway for programs. The same views, actions and access as the REST API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from spinner_proto.common.v1 import common_pb2
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from spinner_webgateway.adapters.actions import Selection
from spinner_webgateway.adapters.views import dags as dag_views
from spinner_webgateway.adapters.views import runs as run_views
from spinner_webgateway.adapters.views import tasks as task_views
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.grpc_assets import AssetMethods
from spinner_webgateway.api.grpc_backfills import BackfillMethods
from spinner_webgateway.api.grpc_common import conf_of, limit_of, rejected
from spinner_webgateway.api.grpc_decisions import DecisionMethods
from spinner_webgateway.api.grpc_simulate import SimulationMethods
from spinner_webgateway.api.grpc_timings import TimingMethods
from spinner_webgateway.api.routes_logs import find_try
from spinner_webgateway.domain import words
from spinner_webgateway.domain.changes import Change
from spinner_webgateway.domain.new_rows import new_task
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row

SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"].full_name
WATCH_LOOK_SECONDS = 15.0
"""A watcher also looks without a signal, so that none that was lost can hold it for ever."""
ENDED = ("success", "failed")


class GatewayService(AssetMethods, BackfillMethods, DecisionMethods, SimulationMethods, TimingMethods):
    """For the event loop."""

    async def ListDags(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.ListDagsRequest, context: Any
    ) -> gateway_pb2.ListDagsResponse:
        self._check("dag.list", "dags")
        wanted = dag_views.DagFilter(query=request.query)
        limit = limit_of(request.page_size)
        page = await self._read(lambda c: dag_views.listing(c, wanted, "dag_id", limit, request.page_token or None))
        return gateway_pb2.ListDagsResponse(
            dags=[
                gateway_pb2.Dag(
                    dag_id=dag["dag_id"],
                    paused=dag["paused"],
                    schedule=dag["schedule"],
                    owner=dag["owner"],
                    tier=dag["tier"],
                    version=dag["version"],
                    next_run_time=words.from_iso(dag["next_run_time"]),
                )
                for dag in page["items"]
            ],
            next_page_token=page["next_cursor"] or "",
        )

    async def SetDagPaused(  # noqa: N802
        self, request: gateway_pb2.SetDagPausedRequest, context: Any
    ) -> gateway_pb2.SetDagPausedResponse:
        action = "dag.pause" if request.paused else "dag.unpause"
        try:
            caller = self._caller()
            with self._gateway.access.act(caller, action, f"dag/{request.dag_id}"):
                await self._gateway.actions.set_paused(caller, request.dag_id, request.paused)
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.SetDagPausedResponse()

    async def TriggerRun(  # noqa: N802
        self, request: gateway_pb2.TriggerRunRequest, context: Any
    ) -> gateway_pb2.TriggerRunResponse:
        try:
            caller = self._caller()
            subject = f"dag/{request.dag_id}"
            with self._gateway.access.act(caller, "run.trigger", subject, request.request_id, run_id=request.run_id):
                logical = request.logical_date.ToDatetime() if request.HasField("logical_date") else None
                row = await self._gateway.actions.trigger(
                    caller,
                    request.dag_id,
                    request.run_id or None,
                    logical,
                    conf_of(request.conf_json),
                    request.note,
                    request.request_id or None,
                    request.partition_key,
                )
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.TriggerRunResponse(run_id=row["run_id"])

    async def GetRun(  # noqa: N802
        self, request: gateway_pb2.GetRunRequest, context: Any
    ) -> gateway_pb2.GetRunResponse:
        self._check("dag.read", f"dag/{request.key.dag_id}")
        return await self._read(lambda c: self._run_response(c, request.key))

    async def ListRuns(  # noqa: N802
        self, request: gateway_pb2.ListRunsRequest, context: Any
    ) -> gateway_pb2.ListRunsResponse:
        self._check("dag.read", f"dag/{request.dag_id}")
        limit = limit_of(request.page_size)

        def read(connection: Any) -> gateway_pb2.ListRunsResponse:
            if request.dag_id:
                dag_views.find_row(connection, request.dag_id)
            rows, following = run_views.rows_page(connection, request.dag_id, (), limit, request.page_token or None)
            return gateway_pb2.ListRunsResponse(
                runs=[run_message(row) for row in rows], next_page_token=following or ""
            )

        return await self._read(read)

    async def ClearTasks(  # noqa: N802
        self, request: gateway_pb2.ClearTasksRequest, context: Any
    ) -> gateway_pb2.ClearTasksResponse:
        key, names = request.key, list(request.task_ids)
        try:
            caller = self._caller()
            wanted = Selection(
                task_ids=names,
                map_indexes=list(request.map_indexes),
                upstream=request.upstream,
                downstream=request.downstream,
                past=request.past,
                future=request.future,
                only_failed=request.only_failed,
                latest_version=request.latest_version,
                conf=conf_of(request.conf_json) if request.conf_json else None,
            )
            if request.dry_run:
                self._check("dag.read", f"dag/{key.dag_id}")
                plan = await self._gateway.actions.clear(caller, key.dag_id, key.run_id, wanted, dry_run=True)
            else:
                facts = {
                    name: getattr(wanted, name)
                    for name in ("upstream", "downstream", "past", "future", "only_failed", "latest_version")
                    if getattr(wanted, name)
                }
                subject = f"run/{key.dag_id}/{key.run_id}"
                with self._gateway.access.act(
                    caller, "task.clear", subject, request.request_id, task_ids=names[:100], **facts
                ):
                    plan = await self._gateway.actions.clear(
                        caller, key.dag_id, key.run_id, wanted, dry_run=False, request_id=request.request_id or None
                    )
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.ClearTasksResponse(task_count=plan.task_count, plan=plan)

    async def WatchRun(  # noqa: N802
        self, request: gateway_pb2.WatchRunRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.WatchRunResponse]:
        """The run and its tasks, then every record of events after that, in order, until the run has ended."""
        key = (request.key.dag_id, request.key.run_id)
        self._check("dag.read", f"dag/{key[0]}")

        def mine(change: Change) -> Change | None:
            return change if key in change.runs else None

        with self._gateway.hub.subscribe(mine) as subscription:
            snapshot, after = await self._read(lambda c: self._snapshot(c, request.key))
            yield gateway_pb2.WatchRunResponse(snapshot=snapshot)
            while True:
                records, ended = await self._read(partial(_after, key=key, after=after))
                for row, message in records:
                    after = (row["cell"], row["partition"], row["offset"])
                    yield gateway_pb2.WatchRunResponse(events=message)
                if ended:
                    return
                await subscription.take(WATCH_LOOK_SECONDS)

    async def TailLog(  # noqa: N802
        self, request: gateway_pb2.TailLogRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.TailLogResponse]:
        key = request.try_key
        self._check("dag.read", f"dag/{key.dag_id}")
        where = (key.dag_id, key.run_id, key.task_id, key.map_index, key.try_number)
        try:
            row, _ = await asyncio.to_thread(find_try, self._gateway, *where)
            async for offset, text, final in self._gateway.logs.bytes_from(row, request.offset, request.follow):
                yield gateway_pb2.TailLogResponse(offset=offset, text=text, final=final)
        except ProblemError as problem:
            raise rejected(problem) from problem

    async def Explain(  # noqa: N802
        self, request: gateway_pb2.ExplainRequest, context: Any
    ) -> gateway_pb2.ExplainResponse:
        self._check("dag.read", f"dag/{request.subject.dag_id}")
        try:
            found = await self._gateway.explanations.explain(request.subject)
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.ExplainResponse(explanation=found)

    def _run_response(self, connection: Any, key: common_pb2.RunKey) -> gateway_pb2.GetRunResponse:
        run = run_views.find(connection, key.dag_id, key.run_id)
        graph = self._gateway.definitions.get(key.dag_id, run["version"])
        rows = {(row["task_id"], row["map_index"]): row for row in task_views.all_rows(connection, run)}
        order = list(task_views.enumerate_instances(run, graph)) if graph else []
        known = set(order)
        order += sorted(at for at in rows if at not in known)
        tasks = [rows.get(at) or new_task(key.dag_id, key.run_id, *at) for at in order]
        return gateway_pb2.GetRunResponse(run=run_message(run), tasks=[_task_message(task) for task in tasks])

    def _snapshot(self, connection: Any, key: common_pb2.RunKey) -> tuple[gateway_pb2.GetRunResponse, Any]:
        # The position is read first: an event between the two reads is told twice rather than never.
        position = run_views.last_position(connection, key.dag_id, key.run_id)
        return self._run_response(connection, key), position


def _after(connection: Any, key: tuple[str, str], after: Any) -> tuple[list[Any], bool]:
    # The state is read first: when it says that the run has ended, all its records are there.
    ended = run_views.find(connection, *key)["state"] in ENDED
    return list(run_views.event_records(connection, *key, after)), ended


def run_message(row: Row) -> gateway_pb2.Run:
    return gateway_pb2.Run(
        key=common_pb2.RunKey(dag_id=row["dag_id"], run_id=row["run_id"]),
        state=words.RUN_STATES[row["state"]],
        run_type=words.RUN_TYPES[row["run_type"]],
        logical_date=words.timestamp_of(row["logical_date"]),
        start_time=words.timestamp_of(row["start_time"]),
        end_time=words.timestamp_of(row["end_time"]),
        version=row["version"],
        partition_key=row["partition_key"],
    )


def _task_message(row: Row) -> gateway_pb2.TaskInstance:
    return gateway_pb2.TaskInstance(
        key=common_pb2.TaskKey(
            dag_id=row["dag_id"], run_id=row["run_id"], task_id=row["task_id"], map_index=row["map_index"]
        ),
        state=words.TASK_STATES[row["state"]],
        try_number=row["try_number"],
        start_time=words.timestamp_of(row["start_time"]),
        end_time=words.timestamp_of(row["end_time"]),
    )


def register(server: grpc.aio.Server, gateway: Gateway) -> None:
    """Adds the service to a server."""
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(GatewayService(gateway), server)
