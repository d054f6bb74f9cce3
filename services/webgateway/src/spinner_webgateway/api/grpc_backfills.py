"""gRPC: backfills."""

from __future__ import annotations

from typing import Any

from spinner_proto.events.v1 import events_pb2
from spinner_proto.gateway.v1 import gateway_pb2

from spinner_webgateway.adapters.backfill_actions import Wish
from spinner_webgateway.adapters.views import backfills as views
from spinner_webgateway.api.grpc_common import GatewayMethods, conf_of, limit_of, rejected
from spinner_webgateway.domain import words
from spinner_webgateway.domain.problems import ProblemError, invalid


class BackfillMethods(GatewayMethods):
    """For the event loop."""

    async def CreateBackfill(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.CreateBackfillRequest, context: Any
    ) -> gateway_pb2.CreateBackfillResponse:
        subject, access = f"dag/{request.dag_id}", self._gateway.access
        try:
            caller = self._caller()
            wish = _wish(request)
            if request.override_cap:
                access.check(caller, "backfill.override_cap", subject)
            self._gateway.backfills.check_span(request.dag_id, wish, unlimited=request.override_cap)
            if request.dry_run:
                access.check(caller, "backfill.create", subject)
                done = await self._gateway.backfills.create(caller, request.dag_id, wish, dry_run=True)
                return gateway_pb2.CreateBackfillResponse(interval_count=done.interval_count, plan=done.plan)
            facts = {"from_date": wish.from_date, "to_date": wish.to_date, "task_ids": list(wish.task_ids)[:100]}
            with access.act(caller, "backfill.create", subject, request.request_id, **facts) as under_way:
                done = await self._gateway.backfills.create(
                    caller, request.dag_id, wish, dry_run=False, request_id=request.request_id or None
                )
                under_way.details["backfill_id"] = done.backfill_id
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.CreateBackfillResponse(backfill_id=done.backfill_id, interval_count=done.interval_count)

    async def GetBackfill(  # noqa: N802
        self, request: gateway_pb2.GetBackfillRequest, context: Any
    ) -> gateway_pb2.GetBackfillResponse:
        self._check("dag.read", f"dag/{request.dag_id}")
        found = await self._read(lambda c: views.find(c, request.dag_id, request.backfill_id))
        return gateway_pb2.GetBackfillResponse(backfill=_message(found))

    async def ListBackfills(  # noqa: N802
        self, request: gateway_pb2.ListBackfillsRequest, context: Any
    ) -> gateway_pb2.ListBackfillsResponse:
        self._check("dag.read" if request.dag_id else "run.list", f"dag/{request.dag_id}" if request.dag_id else "runs")
        limit = limit_of(request.page_size)
        page = await self._read(lambda c: views.listing(c, request.dag_id, (), limit, request.page_token or None))
        return gateway_pb2.ListBackfillsResponse(
            backfills=[_message(item) for item in page["items"]], next_page_token=page["next_cursor"] or ""
        )

    async def PauseBackfill(  # noqa: N802
        self, request: gateway_pb2.PauseBackfillRequest, context: Any
    ) -> gateway_pb2.PauseBackfillResponse:
        await self._change(request, "paused")
        return gateway_pb2.PauseBackfillResponse()

    async def ResumeBackfill(  # noqa: N802
        self, request: gateway_pb2.ResumeBackfillRequest, context: Any
    ) -> gateway_pb2.ResumeBackfillResponse:
        await self._change(request, "running")
        return gateway_pb2.ResumeBackfillResponse()

    async def CancelBackfill(  # noqa: N802
        self, request: gateway_pb2.CancelBackfillRequest, context: Any
    ) -> gateway_pb2.CancelBackfillResponse:
        count = await self._change(request, "cancelled", request.stop_runs)
        return gateway_pb2.CancelBackfillResponse(run_count=count)

    async def _change(self, request: Any, state: str, stop_runs: bool = False) -> int:
        subject = f"backfill/{request.dag_id}/{request.backfill_id}"
        try:
            caller = self._caller()
            with self._gateway.access.act(caller, "backfill.change", subject, request.request_id, state=state):
                row = await self._gateway.backfills.change(
                    caller, request.dag_id, request.backfill_id, state, stop_runs, request.request_id or None
                )
        except ProblemError as problem:
            raise rejected(problem) from problem
        return int(row["task_count"])


def _wish(request: gateway_pb2.CreateBackfillRequest) -> Wish:
    if not (request.HasField("from_date") and request.HasField("to_date")):
        raise invalid("DATES_INVALID", "from_date and to_date of a backfill are needed.", "Give both logical dates.")
    return Wish(
        from_date=request.from_date.ToDatetime(),
        to_date=request.to_date.ToDatetime(),
        run_order=words.run_order(request.run_order),
        reprocess_behavior=words.reprocess_behavior(request.reprocess_behavior),
        max_active_runs=request.max_active_runs,
        task_ids=list(dict.fromkeys(request.task_ids)),
        conf=conf_of(request.conf_json),
        skip_callbacks=request.skip_callbacks,
        pool=request.pool,
        note=request.note,
        partition_key=request.partition_key,
    )


def _message(found: dict[str, Any]) -> gateway_pb2.Backfill:
    counts = found["run_counts"]
    return gateway_pb2.Backfill(
        dag_id=found["dag_id"],
        backfill_id=found["backfill_id"],
        state=events_pb2.BackfillState.Value(f"BACKFILL_STATE_{found['state'].upper()}"),
        from_date=words.from_iso(found["from_date"]),
        to_date=words.from_iso(found["to_date"]),
        interval_count=found["interval_count"],
        taken_count=found["taken_count"],
        skip_count=found["skip_count"],
        queued_count=counts.get("queued", 0),
        running_count=counts.get("running", 0),
        success_count=counts.get("success", 0),
        failed_count=counts.get("failed", 0),
        created_time=words.from_iso(found["created_time"]),
        end_time=words.from_iso(found["end_time"]),
        version=found["version"],
        actor=found["actor"],
    )
