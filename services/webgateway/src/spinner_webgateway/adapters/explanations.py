"""Why is nothing running: asks the scheduler that owns the DAG's partition, wherever it is now.

The owner of a partition says in its first transaction where it answers (topic `partition_owners`, a view here). When
it doesn't answer any more, or owns the partition no longer, the view is looked at again until the next owner shows up,
at most for `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import time

import grpc
import sqlalchemy as sa
from spinner_proto.explain.v1.explain_pb2 import Explanation, Subject
from spinner_proto.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from spinner_servicekit import grpc_client

from spinner_webgateway.adapters.commands import placement_of
from spinner_webgateway.adapters.schema import dags, parse_errors, partition_owners, runs, tasks
from spinner_webgateway.domain import explanations
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row

PATIENCE_SECONDS = 3.0
LOOK_SECONDS = 0.1
CALL_SECONDS = 6.0
ENDED = ("success", "failed")


class Explanations:
    """For the event loop."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def explain(self, subject: Subject) -> Explanation:
        """What the subject waits for. Raises the problem when it is unknown, or when its partition has no owner."""
        partition, errors = await asyncio.to_thread(self._look, subject)
        if not partition:
            found = Explanation(state="unknown")
            found.subject.CopyFrom(subject)
            found.time.GetCurrentTime()
            found.reasons.extend(explanations.parse_errors(errors, known=False))
            return found
        request = scheduler_pb2.ExplainRequest(subject=subject, partition=partition)
        try:
            found = await self._ask(request)
        except ProblemError as problem:
            ended = await asyncio.to_thread(self._ended, subject) if problem.code == "RUN_NOT_FOUND" else None
            if ended is None:
                raise
            return ended
        if not subject.run_id:
            found.reasons.extend(explanations.parse_errors(errors, known=True))
        for pool, owner in explanations.awaited_pools(found.reasons).items():
            try:
                said = await self._ask(scheduler_pb2.ExplainRequest(pool=pool, partition=owner))
            except ProblemError:
                continue  # the answer already names the partition that owns the pool
            explanations.add_pool(found.reasons, pool, said)
        if subject.task_id:
            explanations.add_workers(found.reasons, await asyncio.to_thread(self._task, subject))
        return found

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)

    # -- the owner -----------------------------------------------------------------------------------------------

    async def _ask(self, request: scheduler_pb2.ExplainRequest) -> Explanation:
        deadline = time.monotonic() + PATIENCE_SECONDS
        said = "no scheduler has said that it owns it"
        while True:
            address = await asyncio.to_thread(self._owner, request.partition)
            if address:
                try:
                    stub = scheduler_pb2_grpc.SchedulerServiceStub(self._channel(address))
                    answer = await stub.Explain(request, timeout=CALL_SECONDS)
                    return answer.explanation
                except grpc.aio.AioRpcError as error:
                    refusal = grpc_client.rejected(error)
                    if refusal is not None and refusal.code == "NOT_FOUND":
                        raise ProblemError(404, refusal.reason, f"{refusal.message}.", refusal.fix) from error
                    said = f"its last known owner {address} says: {error.details()}"
            if time.monotonic() > deadline:
                raise ProblemError(
                    503,
                    "PARTITION_WITHOUT_OWNER",
                    f"Scheduler partition {request.partition} has no owner right now: {said}.",
                    "Start a scheduler, or ask again when another one has taken over (spinner status).",
                )
            await asyncio.sleep(LOOK_SECONDS)

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            options = [("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 100)]
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=options)
        return channel

    # -- views ---------------------------------------------------------------------------------------------------

    def _look(self, subject: Subject) -> tuple[str, list[Row]]:
        """The DAG's partition, "" when only parse errors know it, and those errors. Raises the 404 problem."""
        with self._engine.connect() as connection:
            errors = [
                dict(row)
                for row in connection.execute(sa.select(parse_errors)).mappings()
                if subject.dag_id in row["dag_ids"]
            ]
            live = connection.execute(
                sa.select(dags.c.cluster, dags.c.tier, dags.c.partition).where(
                    dags.c.dag_id == subject.dag_id, dags.c.cluster != ""
                )
            ).first()
            if live is not None:
                return f"{live.cluster}_tier_{live.tier}_{live.partition}", errors
            try:
                placement = placement_of(connection, subject.dag_id)
            except ProblemError:
                if errors:
                    return "", errors
                raise
        return f"{placement.cluster}_tier_{placement.tier}_{placement.partition}", errors

    def _owner(self, partition: str) -> str:
        with self._engine.connect() as connection:
            query = sa.select(partition_owners.c.address).where(partition_owners.c.name == partition)
            return str(connection.execute(query).scalar() or "")

    def _ended(self, subject: Subject) -> Explanation | None:
        """Of a run that the scheduler has forgotten because it ended long ago: nothing."""
        with self._engine.connect() as connection:
            state = connection.execute(
                sa.select(runs.c.state).where(runs.c.dag_id == subject.dag_id, runs.c.run_id == subject.run_id)
            ).scalar()
        if state not in ENDED:
            return None
        found = Explanation(state=state)
        found.subject.CopyFrom(subject)
        found.time.GetCurrentTime()
        return found

    def _task(self, subject: Subject) -> Row | None:
        index = subject.map_index if subject.HasField("map_index") else -1
        with self._engine.connect() as connection:
            row = (
                connection.execute(
                    sa.select(tasks.c.executor, tasks.c.worker).where(
                        tasks.c.dag_id == subject.dag_id,
                        tasks.c.run_id == subject.run_id,
                        tasks.c.task_id == subject.task_id,
                        tasks.c.map_index == index,
                    )
                )
                .mappings()
                .first()
            )
        return dict(row) if row is not None else None
