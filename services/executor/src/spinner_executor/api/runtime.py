"""TaskRuntime: what a worker may ask while it runs one try. One handler behind both transports.

Every call names a live try by its token. Refusals are `Rejected` with the code that the transport answers:
PERMISSION_DENIED for a stale token (the worker kills itself), FAILED_PRECONDITION for a start that is not granted.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.message import Message
from spinner.runtime.local_frames import Status
from spinner_eventlog.interface import Fenced
from spinner_objectstore import NotFound
from spinner_proto.common.v1.common_pb2 import Outcome, RunState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import TaskStarted
from spinner_proto.runtime.v1 import runtime_pb2 as rt
from spinner_servicekit.errors import Rejected

from spinner_executor.adapters.bundles import BundleUnavailable
from spinner_executor.adapters.runs import RunsView
from spinner_executor.adapters.secrets.chain import SecretChain
from spinner_executor.adapters.views import SharedView
from spinner_executor.api.dag_calls import DagCalls
from spinner_executor.api.layouts import layout_record
from spinner_executor.api.readiness import Readiness
from spinner_executor.api.secret_calls import SecretCalls
from spinner_executor.control.controller import Controller, NotAllowed, NotOwner
from spinner_executor.control.tries import Try
from spinner_executor.domain import keys
from spinner_executor.domain.clock import datetime_of, timestamp
from spinner_executor.domain.credentials import Unreadable
from spinner_executor.domain.model import SEQUENCE_STARTED, Desired
from spinner_executor.domain.reconcile import may_start

MAX_XCOM_BYTES = 16 * 1024 * 1024
# How long a worker may take to begin to fetch its bundle.
_URL_SECONDS = 3600

# Of the calls those that only read: triggers may run twice.
TRIGGER_CALLS = frozenset({"GetXCom", "GetVariable", "GetConnection", "GetTaskStates", "GetRunState", "GetDag"})

R = TypeVar("R")


class Runtime:
    """`method(try, request) → response` for each method of TaskRuntimeService; runs on the event loop."""

    def __init__(self, controller: Controller, shared: SharedView, runs: RunsView, chain: SecretChain) -> None:
        self._controller = controller
        self._context = controller.context
        self._shared = shared
        self._runs = runs
        secrets = SecretCalls(controller, shared, chain)
        dags = DagCalls(self._context, shared, runs)
        self._readiness = Readiness(self._context, shared, chain)
        self.methods: dict[str, tuple[type[Message], Callable[[Try, rt.StartRequest], Awaitable[Message]]]] = {}
        for name, request, method in (
            ("GetWork", rt.GetWorkRequest, self.get_work),
            ("Start", rt.StartRequest, self.start),
            ("Heartbeat", rt.HeartbeatRequest, self.heartbeat),
            ("GetXCom", rt.GetXComRequest, self.get_xcom),
            ("SetXCom", rt.SetXComRequest, self.set_xcom),
            ("GetVariable", rt.GetVariableRequest, secrets.get_variable),
            ("SetVariable", rt.SetVariableRequest, secrets.set_variable),
            ("GetConnection", rt.GetConnectionRequest, secrets.get_connection),
            ("GetTaskStates", rt.GetTaskStatesRequest, self.get_task_states),
            ("TriggerDagRun", rt.TriggerDagRunRequest, dags.trigger_dag_run),
            ("GetDag", rt.GetDagRequest, dags.get_dag),
            ("GetRunState", rt.GetRunStateRequest, self.get_run_state),
            ("Finish", rt.FinishRequest, self.finish),
            ("PushLog", rt.PushLogRequest, self.push_log),
            ("PublishLayout", rt.PublishLayoutRequest, self.publish_layout),
        ):
            self.methods[name] = (request, method)  # type: ignore[assignment]

    async def call(self, name: str, token: str, request: Message) -> Message:
        """Authenticates and answers one call; raises Rejected."""
        method = self.methods[name][1]
        tried = self.authenticated(token)
        tried.calls += 1
        try:
            return await method(tried, request)  # type: ignore[arg-type]
        except Unreadable as error:
            raise Rejected("FAILED_PRECONDITION", str(error)) from error
        finally:
            tried.calls -= 1
            tried.heard = asyncio.get_running_loop().time()

    async def answer_trigger(self, tried: Try, name: str, data: bytes) -> tuple[int, bytes]:
        """Answers a call of a deferred try's trigger: gRPC status, and the response or why not."""
        try:
            if name not in TRIGGER_CALLS:
                raise Rejected("UNIMPLEMENTED", f"a trigger cannot call {name}", fix="do it when the task is resumed")
            kind, method = self.methods[name]
            answer = await method(tried, kind.FromString(data))  # type: ignore[arg-type]
        except Rejected as rejected:
            return Status[rejected.code], str(rejected).encode()
        except Unreadable as error:
            return Status.FAILED_PRECONDITION, str(error).encode()
        return 0, answer.SerializeToString()

    def authenticated(self, token: str) -> Try:
        try:
            return self._controller.authenticate(token)
        except NotAllowed as error:
            raise Rejected("PERMISSION_DENIED", str(error), reason="STALE_TOKEN") from error
        except NotOwner as error:
            raise Rejected("UNAVAILABLE", str(error), reason="NOT_OWNER") from error

    async def _blocking(self, function: Callable[..., R], *arguments: object) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._context.pool, functools.partial(function, *arguments))

    async def get_work(self, tried: Try, _: rt.GetWorkRequest) -> rt.GetWorkResponse:
        order, settings = tried.order, self._context.settings
        work = rt.GetWorkResponse(
            order=order,
            heartbeat_seconds=settings.heartbeat_seconds,
            lease_seconds=settings.lease_seconds,
            traceparent=tried.traceparent,
            log_head_bytes=settings.log_head,
            log_tail_bytes=settings.log_tail,
        )
        work.readiness.extend(await self._readiness.checks())
        work.readiness_addresses.extend(settings.executor_readiness)
        if self._context.backend.shares_files:
            work.cache_path = str(self._context.bundles.cache)
            work.log_path = str(tried.log.path)
        elif order.bundle.object_key:
            work.bundle_url = self._context.objects.download_url(order.bundle.object_key, _URL_SECONDS) or ""
        if order.HasField("bundle") and not work.bundle_url:
            try:
                path = self._context.bundles.path_now(order.bundle)
                if path is None:
                    path = await (tried.bundle or self._context.bundles.path(order.bundle))
            except BundleUnavailable as error:
                self._controller.ends.launch_impossible(tried, Outcome.OUTCOME_LAUNCH_FAILED, str(error))
                raise Rejected("FAILED_PRECONDITION", str(error), reason="BUNDLE_UNAVAILABLE") from error
            work.bundle_path = str(path)
        work.conf_json = await self._conf(tried)
        return work

    async def _conf(self, tried: Try) -> bytes:
        conf = tried.order.conf
        if conf.WhichOneof("content") != "object":
            return conf.inline
        try:
            return await self._blocking(self._context.objects.get, conf.object.key)
        except NotFound as error:
            why = f"The run's conf {conf.object.key} is not in the object store."
            self._controller.ends.launch_impossible(tried, Outcome.OUTCOME_CONFIG_ERROR, why)
            raise Rejected("FAILED_PRECONDITION", why) from error

    async def start(self, tried: Try, _: rt.StartRequest) -> rt.StartResponse:
        controller, s = self._controller, tried.situation
        worker, segment = tried.worker, s.worker_segment
        if not may_start(s, worker, segment):
            raise self._not_granted(tried)
        if s.granted_segment < segment:
            try:
                await asyncio.shield(tried.granting or controller.ownership.grant(tried))
            except Fenced as error:
                raise self._not_granted(tried) from error
        if tried.xcoms_cleared is not None:
            await tried.xcoms_cleared
        if (
            tried.removed
            or tried.worker != worker
            or not may_start(s, worker, segment)
            or (s.granted_segment, s.granted_worker) != (segment, worker)
        ):
            raise self._not_granted(tried)
        if tried.started_time is None:
            tried.started_time = datetime.now(UTC)
            if tried.launched_time is not None:
                took = (tried.started_time - tried.launched_time).total_seconds()
                self._context.metrics.start_seconds.observe(took)
        report = self._context.report_of(tried, SEQUENCE_STARTED)
        report.time.FromDatetime(tried.started_time)
        report.started.CopyFrom(TaskStarted())
        controller.ends.started(tried, report)
        return rt.StartResponse(time=timestamp(tried.started_time))

    def _not_granted(self, tried: Try) -> Rejected:
        return Rejected(
            "FAILED_PRECONDITION",
            f"the start of {tried.key} segment {tried.situation.worker_segment} is not granted to {tried.worker}",
            reason="START_REFUSED",
        )

    async def heartbeat(self, tried: Try, request: rt.HeartbeatRequest) -> rt.HeartbeatResponse:
        if request.HasField("usage"):
            tried.usage = request.usage
        tried.stage = request.stage
        return rt.HeartbeatResponse(cancelled=tried.situation.desired is Desired.CANCELLED)

    async def get_xcom(self, tried: Try, request: rt.GetXComRequest) -> rt.GetXComResponse:
        own = tried.order.try_key
        dag_id, run_id = request.dag_id or own.dag_id, request.run_id or own.run_id
        indexes = list(request.map_indexes) or [-1]
        if request.all_map_indexes:
            indexes = list(range(request.map_length))
        key = request.key or "return_value"

        def read(run: str, index: int) -> bytes | None:
            try:
                return self._context.objects.get(keys.xcom_object_key(dag_id, run, request.task_id, index, key))
            except NotFound:
                return None

        def read_all() -> list[rt.XComValue]:
            runs = [run_id]
            if request.include_prior_dates:
                self._runs.ensure_started()
                runs += self._runs.earlier(dag_id, datetime_of(tried.order.logical_date))
            values = []
            for index in indexes:
                value = next((found for run in runs if (found := read(run, index)) is not None), None)
                values.append(rt.XComValue(map_index=index, found=value is not None, value_json=value or b""))
            return values

        return rt.GetXComResponse(values=await self._blocking(read_all))

    async def set_xcom(self, tried: Try, request: rt.SetXComRequest) -> rt.SetXComResponse:
        if len(request.value_json) > MAX_XCOM_BYTES:
            raise Rejected(
                "INVALID_ARGUMENT",
                f"XCom {request.key!r} has {len(request.value_json)} bytes, more than the limit of {MAX_XCOM_BYTES}",
                fix="store it in a file or object and pass its address",
                reason="XCOM_TOO_LARGE",
            )
        own = tried.order.try_key
        key = keys.xcom_object_key(own.dag_id, own.run_id, own.task_id, own.map_index, request.key or "return_value")
        try:
            await self._blocking(self._context.objects.put, key, request.value_json)
        except ValueError as error:
            raise Rejected("INVALID_ARGUMENT", str(error)) from error
        return rt.SetXComResponse()

    async def _shared_ready(self) -> SharedView:
        if not self._shared.ready.is_set():
            await self._blocking(self._shared.wait_ready)
        return self._shared

    async def get_task_states(self, _: Try, request: rt.GetTaskStatesRequest) -> rt.GetTaskStatesResponse:
        await self._blocking(self._runs.ensure_started)
        run = self._runs.find(request.dag_id, request.run_id, datetime_of(request.logical_date))
        if run is None:
            return rt.GetTaskStatesResponse(run_found=False)
        wanted = set(request.task_ids)
        return rt.GetTaskStatesResponse(
            run_found=True,
            run_id=run.run_id,
            run_state=run.state,
            states=[
                rt.TaskInstanceState(task_id=task_id, map_index=index, state=state)
                for (task_id, index), state in run.tasks.items()
                if not wanted or task_id in wanted
            ],
        )

    async def get_run_state(self, _: Try, request: rt.GetRunStateRequest) -> rt.GetRunStateResponse:
        await self._blocking(self._runs.ensure_started)
        state = self._runs.run_state(request.dag_id, request.run_id)
        return rt.GetRunStateResponse(found=state is not None, state=state or RunState.RUN_STATE_UNSPECIFIED)

    async def finish(self, tried: Try, request: rt.FinishRequest) -> rt.FinishResponse:
        if request.WhichOneof("kind") is None:
            raise Rejected("INVALID_ARGUMENT", "Finish says neither ended nor deferred, rescheduled or layout_computed")
        await self._controller.ends.finish(tried, request)
        return rt.FinishResponse()

    async def push_log(self, tried: Try, request: rt.PushLogRequest) -> rt.PushLogResponse:
        following = await self._blocking(
            tried.log.append, request.offset, request.text, request.skipped, request.line_ends_before
        )
        tried.logging = True
        return rt.PushLogResponse(next_offset=following)

    async def publish_layout(self, tried: Try, request: rt.PublishLayoutRequest) -> rt.PublishLayoutResponse:
        shared = await self._shared_ready()
        placement = shared.placement(tried.order.try_key.dag_id)
        if placement is None:
            raise Rejected("FAILED_PRECONDITION", f"DAG {tried.order.try_key.dag_id!r} has no published definition")
        try:
            definition = DagDefinition.FromString(request.definition)
        except Exception as error:
            raise Rejected("INVALID_ARGUMENT", f"the layout is not a DagDefinition: {error}") from error
        record = layout_record(definition, tried.order, placement, datetime.now(UTC))
        await self._context.reporter.send(record)
        return rt.PublishLayoutResponse(version=definition.version)
