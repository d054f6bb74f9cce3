"""`python -m spinner_scheduler.benchmark [--kafka HOST:PORT] [--seconds S]`: how many transitions a second.

Prints one JSON object: `core_transitions_per_s`, the pure core with a simulated executor that answers at once, and,
with `--kafka`, `kafka_transitions_per_s`, the same partition end to end over a broker: inbox record in, transaction
out, from the first decision to the last with all processes up. `kafka_transitions_per_cpu_s` is the same by this
process' CPU time, for busy machines. A transition is a state change of a task instance or run. The load is half chains,
half fan-outs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import uuid
from collections.abc import Iterable
from multiprocessing.synchronize import Event

from google.protobuf.message import Message
from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing, StateMachine
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.loop import PartitionLoop
from spinner_proto.common.v1.common_pb2 import Outcome, TryKey
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import Command, DefinitionPublished, InboxMessage, TriggerRun
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_scheduler.adapters.definitions import Definitions
from spinner_scheduler.adapters.machine import Policy, SchedulerMachine
from spinner_scheduler.domain import times
from spinner_scheduler.domain.core import decide
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState

BATCH = 500
TASKS = 200


def definitions(dags: int) -> list[DagDefinition]:
    """Half chains, half fan-outs of 200 tasks."""
    found = []
    for number in range(dags):
        definition = DagDefinition(dag_id=f"dag_{number}", version="v1", max_active_tasks=1_000_000)
        definition.schedule.none.SetInParent()
        definition.placement.cluster, definition.placement.tier = "spinner", 1
        for position in range(TASKS):
            task = definition.tasks.add(task_id=f"task_{position}", operator="PythonOperator")
            if number % 2:
                if position:
                    task.upstream.append(position - 1)
            elif position == TASKS - 1:
                task.upstream.extend(range(1, TASKS - 1))
            elif position:
                task.upstream.append(0)
        found.append(definition)
    return found


def reports(order: TaskOrder, now: int) -> list[InboxMessage]:
    """What an executor says of a task that starts and ends at once."""
    at = times.to_timestamp(now)
    key: TryKey = order.try_key
    started, ended = InboxMessage(), InboxMessage()
    for sequence, message in ((2, started), (3, ended)):
        report = message.task_report
        report.try_key.CopyFrom(key)
        report.segment = order.segment
        report.sequence = sequence
        report.time.CopyFrom(at)
        report.executor = "127.0.0.1:50052"
        report.worker = f"{key.task_id}-1"
    started.task_report.started.SetInParent()
    ended.task_report.ended.outcome = Outcome.OUTCOME_SUCCESS
    ended.task_report.ended.return_length = -1
    ended.task_report.ended.start_time.CopyFrom(at)
    ended.task_report.ended.end_time.CopyFrom(at)
    return [started, ended]


def beginning(found: Iterable[DagDefinition], runs: int) -> list[InboxMessage]:
    """Publishes and triggers everything."""
    messages = []
    for definition in found:
        published = DefinitionPublished(dag_id=definition.dag_id, version=definition.version)
        messages.append(InboxMessage(definition_published=published))
        for number in range(runs):
            command = Command(
                request_id=f"{definition.dag_id}-{number}",
                dag_id=definition.dag_id,
                trigger_run=TriggerRun(run_id=f"run_{number}"),
            )
            messages.append(InboxMessage(command=command))
    return messages


def core(seconds: float) -> float:
    """Returns transitions a CPU second of the pure core, the executor's work not counted."""
    found = {definition.dag_id: definition for definition in definitions(40)}
    spent, transitions, round_number = 0.0, 0, 0
    while spent < seconds:
        round_number += 1
        state = PartitionState(
            Layouts(lambda dag_id, _: found.get(dag_id)),
            Address("inbox", 0),
            limits=Limits(default_pool_slots=1_000_000),
        )
        now = 1_800_000_000 * times.SECOND
        waiting = beginning(found.values(), 2)
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            now += 1_000
            begun = time.process_time()
            result = decide(state, batch, now)
            spent += time.process_time() - begun
            transitions += result.transitions
            for order in result.orders.values():
                if order is not None:
                    waiting.extend(reports(order, now))
    return transitions / spent


def kafka(bootstrap: str, seconds: float) -> tuple[float, float]:
    """Returns transitions a second, and a CPU second, of one partition over a broker.

    The executor is a process of its own.
    """
    prefix = f"b{uuid.uuid4().hex[:8]}-"
    topics.create_topics(bootstrap, ["spinner"], [1], {"scheduler_inbox": 1, "task_orders": 1}, prefix=prefix)
    log = KafkaLog(bootstrap, "benchmark", prefix)
    producer = log.producer("benchmark")
    dags = definitions(40)
    for definition in dags:
        producer.send(Outgoing("workflow_definitions", f"{definition.dag_id}@{definition.version}", definition))
    producer.flush()
    cache = Definitions(log)
    cache.start()
    policy = Policy(tiers=(1,), limits=Limits(default_pool_slots=1_000_000))
    machines: list[_Counting] = []

    def factory(topic: str, partition: int) -> StateMachine:
        machines.append(_Counting(SchedulerMachine(log, cache, policy, 1, partition)))
        return machines[-1]

    inbox = topics.inbox_topic("spinner", 1)
    loop = PartitionLoop(
        log,
        group_id="scheduler-spinner_tier_1",
        input_topics=[inbox],
        transactional_id_for=lambda topic, partition: f"scheduler_{partition}",
        machine_factory=factory,
        decode=InboxMessage,
        max_batch=BATCH,
        overlap=True,
    )
    failed: list[BaseException] = []
    # Another process, so that the figure is the scheduler's and not that of a shared interpreter.
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    answers = context.Process(target=_answer, args=(bootstrap, prefix, inbox, ready), daemon=True)
    answers.start()
    if not ready.wait(60):
        raise TimeoutError("the executor's process did not start within 60 s")
    for message in beginning(dags, max(1, round(seconds / 2))):
        producer.send(Outgoing(inbox, "x", message, 0))
    producer.flush()
    loop.start(failed.append)
    deadline = time.monotonic() + 60 + 20 * seconds
    while not failed and time.monotonic() < deadline:
        time.sleep(0.05)
        if machines and machines[-1].quiet():
            break
    answers.terminate()
    answers.join()
    loop.close()
    cache.stop()
    log.close()
    if failed:
        raise failed[0]
    return machines[-1].rates()


class _Counting:
    """A machine whose work is measured from its first to its last batch."""

    def __init__(self, inner: SchedulerMachine) -> None:
        self._inner = inner
        self._first = self._last = 0.0
        self._cpu_first = self._cpu_last = 0.0
        self._transitions = 0

    def restore(self) -> None:
        self._inner.restore()

    def handle(self, records, now):  # type: ignore[no-untyped-def]
        if not self._first:
            self._first, self._cpu_first = time.monotonic(), time.process_time()
        outgoing = self._inner.handle(records, now)
        for output in outgoing:
            self._transitions += _transitions(output.value)
        return outgoing

    def committed(self, offsets):  # type: ignore[no-untyped-def]
        self._inner.committed(offsets)
        if self._inner.state.live_runs:
            self._last, self._cpu_last = time.monotonic(), time.process_time()

    def needs_quiet(self) -> bool:
        return self._inner.needs_quiet()

    def next_due(self):  # type: ignore[no-untyped-def]
        return self._inner.next_due()

    def quiet(self) -> bool:
        return bool(self._last) and not self._inner.state.live_runs

    def rates(self) -> tuple[float, float]:
        """Transitions a second, and a CPU second of this process."""
        return (
            self._transitions / (self._last - self._first),
            self._transitions / (self._cpu_last - self._cpu_first),
        )


def _transitions(value: Message | None) -> int:
    events = getattr(value, "events", None)
    if events is None:
        return 0
    kinds = ("task_state_changed", "task_ended", "run_state_changed")
    return sum(1 for event in events if event.WhichOneof("kind") in kinds)


def _answer(bootstrap: str, prefix: str, inbox: str, ready: Event) -> None:
    log = KafkaLog(bootstrap, "benchmark-executor", prefix)
    reader = log.reader([("task_orders-spinner", 0)])
    producer = log.producer("executor")
    reader.poll(1, 0.5)
    ready.set()
    while True:
        for record in reader.poll(2000, 0.05):
            if record.value is not None:
                order = record.decode(TaskOrder)
                for message in reports(order, record.time_ms * 1000):
                    producer.send(Outgoing(inbox, order.try_key.dag_id, message, 0))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="spinner_scheduler.benchmark")
    parser.add_argument(
        "--kafka", default=os.environ.get("SPINNER_KAFKA", ""), help="bootstrap servers; empty: only the core"
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args(arguments)
    figures = {"core_transitions_per_s": round(core(options.seconds))}
    if options.kafka:
        by_clock, by_cpu = kafka(options.kafka, options.seconds)
        figures["kafka_transitions_per_s"] = round(by_clock)
        figures["kafka_transitions_per_cpu_s"] = round(by_cpu)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
