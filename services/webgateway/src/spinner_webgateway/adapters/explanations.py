"""Why is nothing running: asks the scheduler that owns the DAG's partition, and adds what the views know."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from spinner_proto.explain.v1.explain_pb2 import Explanation, Subject
from spinner_proto.scheduler.v1 import scheduler_pb2

from spinner_webgateway.adapters.commands import placement_of
from spinner_webgateway.adapters.owners import CALL_SECONDS, Owners
from spinner_webgateway.adapters.tables.dags import dags, parse_errors
from spinner_webgateway.adapters.tables.runs import runs, tasks
from spinner_webgateway.domain import explanations
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row

ENDED = ("success", "failed")


class Explanations:
    """For the event loop."""

    def __init__(self, engine: sa.Engine, owners: Owners) -> None:
        self._engine = engine
        self._owners = owners

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

    async def _ask(self, request: scheduler_pb2.ExplainRequest) -> Explanation:
        answer: scheduler_pb2.ExplainResponse = await self._owners.ask(
            request.partition, lambda stub: stub.Explain(request, timeout=CALL_SECONDS)
        )
        return answer.explanation

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
        return placement.name, errors

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
