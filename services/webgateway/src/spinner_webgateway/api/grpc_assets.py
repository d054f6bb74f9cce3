"""gRPC: assets, their updates and lineage; deadlines."""

from __future__ import annotations

from typing import Any

import orjson
from spinner_proto.common.v1 import common_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.gateway.v1 import gateway_pb2

from spinner_webgateway.adapters.views import assets as views
from spinner_webgateway.api.grpc_common import GatewayMethods, conf_of, limit_of, rejected
from spinner_webgateway.domain import words
from spinner_webgateway.domain.asset_rows import DEADLINE_STATES
from spinner_webgateway.domain.problems import ProblemError

_DEADLINE_NUMBERS = {name: number for number, name in DEADLINE_STATES.items()}


class AssetMethods(GatewayMethods):
    """For the event loop."""

    async def ListAssets(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.ListAssetsRequest, context: Any
    ) -> gateway_pb2.ListAssetsResponse:
        self._check("asset.list", "assets")
        known, limit = self._gateway.definitions, limit_of(request.page_size)
        token = request.page_token or None
        page = await self._read(lambda c: views.listing(c, known, request.query, limit, token, request.stale))
        return gateway_pb2.ListAssetsResponse(
            assets=[_asset(item) for item in page["items"]], next_page_token=page["next_cursor"] or ""
        )

    async def GetAsset(  # noqa: N802
        self, request: gateway_pb2.GetAssetRequest, context: Any
    ) -> gateway_pb2.GetAssetResponse:
        self._check("asset.read", f"asset/{request.name}")
        found = await self._read(lambda c: views.details(c, self._gateway.definitions, request.name))
        return gateway_pb2.GetAssetResponse(asset=_asset(found))

    async def ListAssetEvents(  # noqa: N802
        self, request: gateway_pb2.ListAssetEventsRequest, context: Any
    ) -> gateway_pb2.ListAssetEventsResponse:
        self._check("asset.read", f"asset/{request.name}")
        limit = limit_of(request.page_size)
        page = await self._read(lambda c: views.events(c, request.name, limit, request.page_token or None))
        return gateway_pb2.ListAssetEventsResponse(
            events=[_update(item) for item in page["items"]], next_page_token=page["next_cursor"] or ""
        )

    async def ListAssetPartitions(  # noqa: N802
        self, request: gateway_pb2.ListAssetPartitionsRequest, context: Any
    ) -> gateway_pb2.ListAssetPartitionsResponse:
        self._check("asset.read", f"asset/{request.name}")
        limit = limit_of(request.page_size)
        page = await self._read(lambda c: views.partitions(c, request.name, limit, request.page_token or None))
        return gateway_pb2.ListAssetPartitionsResponse(
            partitions=[
                gateway_pb2.AssetPartition(partition_key=item["partition_key"], update=_update(item["update"]))
                for item in page["items"]
            ],
            next_page_token=page["next_cursor"] or "",
        )

    async def CreateAssetEvent(  # noqa: N802
        self, request: gateway_pb2.CreateAssetEventRequest, context: Any
    ) -> gateway_pb2.CreateAssetEventResponse:
        try:
            caller = self._caller()
            subject = f"asset/{request.name[:500]}"
            with self._gateway.access.act(caller, "asset.update", subject, request.request_id) as under_way:
                await self._gateway.read(lambda c: views.details(c, self._gateway.definitions, request.name))
                row = await self._gateway.assets.create_event(
                    caller,
                    request.name,
                    conf_of(request.extra_json),
                    request.request_id or None,
                    request.partition_key,
                )
                under_way.request_id = row["request_id"]
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.CreateAssetEventResponse(request_id=row["request_id"])

    async def ListDeadlines(  # noqa: N802
        self, request: gateway_pb2.ListDeadlinesRequest, context: Any
    ) -> gateway_pb2.ListDeadlinesResponse:
        self._check("deadline.list", f"dag/{request.dag_id}" if request.dag_id else "deadlines")
        wanted = [DEADLINE_STATES[state] for state in request.states if state in DEADLINE_STATES]
        limit, token = limit_of(request.page_size), request.page_token or None
        page = await self._read(lambda c: views.deadline_page(c, request.dag_id, request.run_id, wanted, limit, token))
        return gateway_pb2.ListDeadlinesResponse(
            deadlines=[_deadline(item) for item in page["items"]], next_page_token=page["next_cursor"] or ""
        )


def _text(extra: dict[str, Any]) -> str:
    return orjson.dumps(extra).decode() if extra else ""


def _asset(found: dict[str, Any]) -> gateway_pb2.Asset:
    made = gateway_pb2.Asset(
        name=found["name"],
        alias=found["alias"],
        uri=found["uri"],
        group=found["group"],
        extra_json=_text(found["extra"]),
        update_count=found["update_count"],
        last_update_time=words.from_iso(found["last_update_time"]),
        fresh_until=words.from_iso(found["fresh_until"]),
        stale=found["stale"],
    )
    if found["freshness_seconds"] is not None:
        made.freshness.FromMicroseconds(int(found["freshness_seconds"] * 1_000_000))
    for field in ("producers", "readers", "consumers"):
        for user in found[field]:
            getattr(made, field).add(dag_id=user["dag_id"], task_id=user["task_id"] or "")
    for watcher in found["watchers"]:
        made.watchers.add(
            name=watcher["name"],
            trigger_class=watcher["trigger_class"],
            state=events_pb2.WatcherState.Value(f"WATCHER_STATE_{watcher['state'].upper()}"),
            event_count=watcher["event_count"],
            last_event_time=words.from_iso(watcher["last_event_time"]),
            last_error=watcher["last_error"],
            last_error_time=words.from_iso(watcher["last_error_time"]),
            executor=watcher["executor"],
        )
    callback = found["stale_callback"]
    if callback is not None:
        made.stale_callback.dag_id = callback["dag_id"]
        made.stale_callback.stale_time.FromJsonString(callback["stale_time"])
        made.stale_callback.state = common_pb2.TaskState.Value(f"TASK_STATE_{callback['state'].upper()}")
        made.stale_callback.message = callback["message"]
    return made


def _update(found: dict[str, Any]) -> gateway_pb2.AssetUpdate:
    made = gateway_pb2.AssetUpdate(
        asset=found["asset"],
        sequence=found["sequence"],
        time=words.from_iso(found["time"]),
        extra_json=_text(found["extra"]),
        aliases=found["aliases"],
        actor=found["actor"],
        partition_key=found["partition_key"],
        watcher=found["watcher"],
        runs=[common_pb2.RunKey(dag_id=run["dag_id"], run_id=run["run_id"]) for run in found["runs"]],
    )
    if found["producer"]:
        made.producer.CopyFrom(common_pb2.TaskKey(**found["producer"]))
    return made


def _deadline(found: dict[str, Any]) -> gateway_pb2.Deadline:
    return gateway_pb2.Deadline(
        key=common_pb2.RunKey(dag_id=found["dag_id"], run_id=found["run_id"]),
        name=found["name"],
        task_id=found["task_id"] or "",
        state=_DEADLINE_NUMBERS[found["state"]],
        deadline_time=words.from_iso(found["deadline_time"]),
        expected_end_time=words.from_iso(found["expected_end_time"]),
        median_seconds=found["median_seconds"] or 0,
        run_count=found["run_count"],
        changed_time=words.from_iso(found["changed_time"]),
    )
