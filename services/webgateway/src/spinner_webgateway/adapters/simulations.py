"""What would happen (B9): asks a scheduler to simulate, with how long tasks took lately and the pools as they are."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import sqlalchemy as sa
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from spinner_proto.scheduler.v1.scheduler_pb2 import SimulateRequest, SimulateResponse
from spinner_proto.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from spinner_servicekit import grpc_client

from spinner_webgateway.adapters.tables.dags import dags
from spinner_webgateway.adapters.tables.runs import tries
from spinner_webgateway.adapters.tables.settings import pools
from spinner_webgateway.adapters.tables.system import partition_owners
from spinner_webgateway.domain.problems import ProblemError, dag_not_found

CALL_SECONDS = 130.0
# Durations are those of tries that succeeded since.
HISTORY = timedelta(days=30)
_STATUS = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "DEADLINE_EXCEEDED": 504}


class Simulations:
    """For the event loop."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    async def simulate(self, request: SimulateRequest, dag_id: str = "") -> SimulateResponse:
        """Fills in what is known of a live DAG and asks. Raises the problem: unknown DAG, impossible, busy, nobody."""
        addresses = await asyncio.to_thread(self._complete, request, dag_id)
        said = "no scheduler has said where it answers"
        for address in addresses:
            options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 64 * 1024 * 1024)]
            async with grpc.aio.insecure_channel(address, options=options) as channel:
                try:
                    return await SchedulerServiceStub(channel).Simulate(request, timeout=CALL_SECONDS)
                except grpc.aio.AioRpcError as error:
                    refusal = grpc_client.rejected(error)
                    if refusal is not None and refusal.code in _STATUS:
                        status = _STATUS[refusal.code]
                        raise ProblemError(status, refusal.reason, f"{refusal.message}.", refusal.fix) from error
                    said = f"{address} says: {error.details()}"
        raise ProblemError(503, "NO_SCHEDULER", f"No scheduler simulates: {said}.", "Start one (spinner status).")

    def _complete(self, request: SimulateRequest, dag_id: str) -> list[str]:
        """Adds version, durations and pools; returns the addresses of schedulers."""
        with self._engine.connect() as connection:
            if dag_id:
                version = connection.execute(
                    sa.select(dags.c.version).where(dags.c.dag_id == dag_id, dags.c.cluster != "")
                ).scalar()
                if not version:
                    raise dag_not_found(dag_id)
                request.dags.add(dag_id=dag_id, version=version)
                since = int((datetime.now(UTC) - HISTORY).timestamp() * 1_000_000)
                for task_id, micros in connection.execute(
                    sa.select(tries.c.task_id, sa.func.avg(tries.c.end_time - tries.c.start_time))
                    .where(tries.c.dag_id == dag_id, tries.c.state == "success", tries.c.start_time > since)
                    .group_by(tries.c.task_id)
                ):
                    name = f"{dag_id}/{task_id}"
                    if micros is not None and name not in request.durations and not request.HasField("duration"):
                        request.durations[name].FromMicroseconds(max(0, int(micros)))
            for name, slots in connection.execute(sa.select(pools.c.name, pools.c.slots)):
                if name not in request.pools:
                    request.pools[name] = slots
            addresses = connection.execute(sa.select(partition_owners.c.name, partition_owners.c.address)).all()
            # Its owner first: it knows the runs of a custom timetable.
            columns = (dags.c.cluster, dags.c.tier, dags.c.partition)
            place = connection.execute(sa.select(*columns).where(dags.c.dag_id == dag_id)).first()
            owned = f"{place.cluster}_tier_{place.tier}_{place.partition}" if place is not None else ""
            return list(dict.fromkeys(row.address for row in sorted(addresses, key=lambda row: row.name != owned)))


def as_json(found: SimulateResponse) -> dict[str, Any]:
    """The answer as REST shows it: times as ISO texts, numbers as numbers."""
    shown = json_format.MessageToDict(
        found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for name in ("run_count", "failed_run_count", "task_count", "event_count"):
        shown[name] = int(shown[name])
    for run in shown["runs"]:
        run["state"] = run["state"].removeprefix("RUN_STATE_").lower()
    for limit in shown["limits"]:
        limit["waits"] = int(limit["waits"])
    return dict(shown)


def timestamp(moment: datetime) -> Timestamp:
    """A time of the API; UTC when it names no zone."""
    found = Timestamp()
    with contextlib.suppress(ValueError):
        found.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return found
