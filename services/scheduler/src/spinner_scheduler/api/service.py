"""gRPC: a scheduler of itself; why nothing is running (B6), what a clear would do (B4), what would happen (B9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import grpc
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.scheduler.v1.scheduler_pb2 import (
    ExplainRequest,
    ExplainResponse,
    GetStatusRequest,
    GetStatusResponse,
    PartitionStatus,
    PreviewClearRequest,
    PreviewClearResponse,
    SimulateRequest,
    SimulateResponse,
)
from spinner_proto.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceServicer
from spinner_servicekit.errors import Rejected

from spinner_scheduler.adapters.machine import SchedulerMachine
from spinner_scheduler.domain import refusals, schedules
from spinner_scheduler.domain.explain import UnknownError
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.forecast import process

# Tasks that a preview lists, unless it says how many.
_TASKS = 2_000


class SchedulerService(SchedulerServiceServicer):
    """`partitions`: gives the state of all owned partitions; `machines`: those that are active.

    `definition(dag_id, version)`: any definition that is known; `limits`: this installation's.
    """

    def __init__(
        self,
        partitions: Callable[[], Sequence[PartitionStatus]],
        machines: Callable[[], Sequence[SchedulerMachine]],
        definition: Callable[[str, str], DagDefinition | None] = lambda dag_id, version: None,
        limits: Limits | None = None,
    ) -> None:
        self._partitions = partitions
        self._machines = machines
        self._definition = definition
        self._limits = limits or Limits()

    def GetStatus(self, request: GetStatusRequest, context: grpc.ServicerContext) -> GetStatusResponse:  # noqa: N802
        return GetStatusResponse(partitions=self._partitions())

    def Explain(self, request: ExplainRequest, context: grpc.ServicerContext) -> ExplainResponse:  # noqa: N802
        if not request.pool and not request.subject.dag_id:
            raise Rejected("INVALID_ARGUMENT", "the request names neither a DAG nor a pool", "set subject.dag_id")
        machine = self._machine(request.partition, request.subject.dag_id, request.pool)
        try:
            found = machine.explain(request.subject, request.pool, datetime.now(UTC))
        except UnknownError as unknown:
            raise Rejected("NOT_FOUND", str(unknown), unknown.fix, unknown.code) from unknown
        return ExplainResponse(explanation=found)

    def PreviewClear(  # noqa: N802
        self, request: PreviewClearRequest, context: grpc.ServicerContext
    ) -> PreviewClearResponse:
        machine = self._machine(request.partition, request.dag_id)
        try:
            plan = machine.preview_clear(request.dag_id, request.clear_tasks, request.max_tasks or _TASKS)
        except refusals.Rejected as refusal:
            code = "NOT_FOUND" if refusal.code.endswith("_NOT_FOUND") else "FAILED_PRECONDITION"
            raise Rejected(code, str(refusal), "", refusal.code) from refusal
        return PreviewClearResponse(plan=plan)

    def Simulate(self, request: SimulateRequest, context: grpc.ServicerContext) -> SimulateResponse:  # noqa: N802
        asked = SimulateRequest()
        asked.CopyFrom(request)
        del asked.dags[:], asked.definitions[:]
        for named in request.dags:
            found = self._definition(named.dag_id, named.version)
            if found is None:
                raise Rejected(
                    "NOT_FOUND",
                    f"{named.dag_id}@{named.version} is not in workflow_definitions",
                    "ask for a version that dag-sync has published",
                    "DEFINITION_MISSING",
                )
            definition = asked.definitions.add()
            definition.CopyFrom(found)
            if schedules.is_evaluated(definition):
                self._fill_timetable(definition)
        asked.definitions.extend(request.definitions)
        return process.run(asked, self._limits, context.is_active)

    def _fill_timetable(self, definition: DagDefinition) -> None:
        """Adds what is known here of a custom timetable, which no definition in the log has."""
        for machine in self._machines():
            dag = machine.state.dags.get(definition.dag_id)
            if dag is not None and dag.evaluated is not None and dag.evaluated.version == definition.version:
                explicit = schedules.explicit_of(definition)
                explicit.intervals.extend(dag.evaluated.intervals)
                explicit.complete = dag.evaluated.complete

    def _machine(self, partition: str, dag_id: str, pool: str = "") -> SchedulerMachine:
        machines = self._machines()
        for machine in machines:
            if partition == machine.name:
                return machine
            if partition:
                continue
            found = machine.state.pools.get(pool)
            if dag_id in machine.state.dags or (found is not None and found.owned):
                return machine
        what = f"partition {partition}" if partition else "the partition of the subject"
        names = ", ".join(machine.name for machine in machines) or "none"
        raise Rejected(
            "FAILED_PRECONDITION",
            f"{what} is not owned by this scheduler, whose active partitions are: {names}",
            "ask its owner, which topic partition_owners names",
            "NOT_OWNER",
        )
