"""A partition in memory, with an executor that does what the test says."""

from __future__ import annotations

from collections import defaultdict

import pytest
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.memory import MemoryLog
from spinner_proto.common.v1.common_pb2 import Outcome, TaskState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WorkflowEvent
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import Command, DefinitionPublished, InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from spinner_scheduler.adapters import recovery
from spinner_scheduler.domain import times
from spinner_scheduler.domain.core import Result, decide
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState

START = 1_760_000_400 * times.SECOND  # 2025-10-09T09:00:00Z


class Lab:
    """Times are seconds after START."""

    epoch = START

    def __init__(self, here: Address | None = None, limits: Limits | None = None, pool_partitions: int = 1) -> None:
        self.definitions: dict[tuple[str, str], DagDefinition] = {}
        self.state = PartitionState(
            Layouts(lambda dag_id, version: self.definitions.get((dag_id, version))),
            here or Address("scheduler_inbox-spinner_tier_1", 0),
            limits=limits,
            pool_partitions=pool_partitions,
        )
        self.now = START
        self.orders: dict[str, TaskOrder] = {}
        self.executions: list[JobExecutionRecord] = []
        self.events: list[tuple[str, str, WorkflowEvent]] = []
        self.messages: list[tuple[Address, str, InboxMessage]] = []
        self.results: list[Result] = []
        self._requests = 0

    def dag(self, dag_id: str = "dag", version: str = "v1", **fields: object) -> DagDefinition:
        definition = DagDefinition(dag_id=dag_id, version=version, max_active_tasks=100, **fields)  # type: ignore[arg-type]
        definition.placement.cluster, definition.placement.tier = "spinner", 1
        return definition

    def publish(self, definition: DagDefinition) -> None:
        self.definitions[(definition.dag_id, definition.version)] = definition
        published = DefinitionPublished(dag_id=definition.dag_id, version=definition.version)
        self.take(InboxMessage(definition_published=published))

    def take(self, *messages: InboxMessage) -> Result:
        result = decide(self.state, messages, self.now)
        self.results.append(result)
        for key, order in result.orders.items():
            if order is None:
                self.orders.pop(key, None)
            else:
                self.orders[key] = order
        self.executions.extend(result.executions)
        self.messages.extend(result.messages)
        self.events.extend((r.dag_id, r.run_id, e) for r in result.records for e in r.events)
        return result

    def at(self, seconds: float) -> None:
        """Moves to a time and rings what is due, in steps as the loop would."""
        until = START + int(seconds * times.SECOND)
        while True:
            due = self.state.timers.next_due()
            if not due or due > until:
                break
            self.now = max(self.now, due)
            self.take()
        self.now = until
        self.take()

    def command(self, dag_id: str = "dag", request_id: str = "", **kind: object) -> WorkflowEvent | None:
        """Sends a command; returns its answer."""
        self._requests += 1
        command = Command(request_id=request_id or f"request {self._requests}", dag_id=dag_id, **kind)  # type: ignore[arg-type]
        command.actor.name = "user:alice"
        command.time.CopyFrom(times.to_timestamp(self.now))
        before = len(self.events)
        self.take(InboxMessage(command=command))
        for _, _, event in self.events[before:]:
            if event.WhichOneof("kind") in ("command_accepted", "command_rejected"):
                return event
        return None

    def trigger(self, run_id: str = "run", dag_id: str = "dag") -> None:
        answer = self.command(dag_id, trigger_run={"run_id": run_id})
        assert answer is not None and answer.HasField("command_accepted"), answer

    def taken_over(self) -> Lab:
        """The partition as its next owner has it, from snapshots alone."""
        log = MemoryLog()
        for topic in ("snapshots", "events"):
            log.create_topic(topic, 1)
        producer = log.producer("lab")
        state = self.state
        entities = [f"dag:{dag_id}" for dag_id in state.dags]
        entities += [f"run:{dag_id}/{run_id}" for dag_id, dag in state.dags.items() for run_id in dag.runs]
        entities += [f"run:{dag_id}/{run_id}" for dag_id, dag in state.dags.items() for run_id in dag.finished]
        for entity in entities:
            producer.send(Outgoing("snapshots", entity, recovery.take_snapshot(state, entity, 0), partition=0))
        producer.send(Outgoing("snapshots", "partition:0", recovery.partition_snapshot(state, 0), partition=0))
        producer.flush()
        other = Lab()
        other.definitions.update(self.definitions)
        other.now = self.now
        recovery.restore(other.state, log, "snapshots", "events", 0)
        return other

    def order(self, task_id: str, run_id: str = "run", map_index: int = -1) -> TaskOrder:
        found = [
            order
            for order in self.orders.values()
            if (order.try_key.task_id, order.try_key.run_id, order.try_key.map_index) == (task_id, run_id, map_index)
        ]
        assert len(found) == 1, (task_id, run_id, map_index, sorted(self.orders))
        return found[0]

    def ordered(self, run_id: str = "run") -> list[str]:
        """Tasks with a live order that wants a worker, with [map index] if they are mapped."""
        return sorted(
            order.try_key.task_id + (f"[{order.try_key.map_index}]" if order.try_key.map_index >= 0 else "")
            for order in self.orders.values()
            if order.try_key.run_id == run_id and order.desired_state == 1
        )

    def report(self, order: TaskOrder, sequence: int, **kind: object) -> TaskReport:
        report = TaskReport(try_key=order.try_key, segment=order.segment, sequence=sequence, **kind)  # type: ignore[arg-type]
        report.time.CopyFrom(times.to_timestamp(self.now))
        return report

    def start(self, task_id: str, run_id: str = "run", map_index: int = -1) -> None:
        order = self.order(task_id, run_id, map_index)
        self.take(InboxMessage(task_report=self.report(order, 2, started={})))

    def end(
        self,
        task_id: str,
        outcome: int = Outcome.OUTCOME_SUCCESS,
        run_id: str = "run",
        map_index: int = -1,
        **fields: object,
    ) -> None:
        """Starts and ends a task as its worker would."""
        order = self.order(task_id, run_id, map_index)
        fields.setdefault("return_length", -1)
        report = self.report(order, 3, ended={"outcome": outcome, **fields})
        if outcome != Outcome.OUTCOME_LAUNCH_FAILED:
            report.ended.start_time.CopyFrom(times.to_timestamp(self.now))
        report.ended.end_time.CopyFrom(times.to_timestamp(self.now))
        self.take(InboxMessage(task_report=report))

    def states(self, run_id: str = "run", dag_id: str = "dag") -> dict[str, str]:
        """The state of each task instance as the events tell it."""
        found: dict[str, str] = {}
        for d, r, event in self.events:
            if (d, r) != (dag_id, run_id):
                continue
            kind = event.WhichOneof("kind")
            if kind not in ("task_state_changed", "task_ended", "task_cleared"):
                continue
            e = getattr(event, kind)
            name = e.task_id + (f"[{e.map_index}]" if e.map_index >= 0 else "")
            state = "none" if kind == "task_cleared" else TaskState.Name(e.state).removeprefix("TASK_STATE_").lower()
            found[name] = state
        return found

    def run_state(self, run_id: str = "run", dag_id: str = "dag") -> str:
        from spinner_proto.common.v1.common_pb2 import RunState

        states = [
            event.run_state_changed.state
            for d, r, event in self.events
            if (d, r) == (dag_id, run_id) and event.HasField("run_state_changed")
        ]
        return RunState.Name(states[-1]).removeprefix("RUN_STATE_").lower() if states else "absent"

    def runs(self, dag_id: str = "dag") -> list[str]:
        """Runs in the order they were made: their logical dates as seconds after START, or their ids."""
        made = [(r, e.run_created) for d, r, e in self.events if d == dag_id and e.HasField("run_created")]
        return [run_id for run_id, _ in made]

    def last(self, kind: str) -> object:
        return [getattr(e, kind) for _, _, e in self.events if e.HasField(kind)][-1]  # type: ignore[arg-type]

    def records(self) -> dict[tuple[str, int], list[str]]:
        found: dict[tuple[str, int], list[str]] = defaultdict(list)
        for record in self.executions:
            found[(record.job_name, record.try_number)].append(record.status)
        return dict(found)


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def make_lab() -> type[Lab]:
    return Lab
