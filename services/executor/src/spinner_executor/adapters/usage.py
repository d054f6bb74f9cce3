"""The view of what tasks used and of what people set for them, and the writer of the former.

Every executor writes `task_usage` and unites what it reads with what it knows: when the latest record
of a task lacks a sample that this view has, the union is written again, so that all come to the same set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from spinner_eventlog.interface import EventLog, Outgoing, Record
from spinner_proto.usage.v1.usage_pb2 import TaskResources, TaskUsage, UsageSample

from spinner_executor.adapters.views import Follower
from spinner_executor.domain.prediction import Memory, Policy, decide, learned_request, raised, unite

USAGE, RESOURCES = "task_usage", "task_resources"


class UsageView(Follower):
    """Thread-safe. `flush` writes what was learned since; call it now and then."""

    def __init__(self, log: EventLog, policy: Policy) -> None:
        super().__init__("usage of tasks", log, (USAGE, RESOURCES))
        self._policy = policy
        self._usage: dict[str, TaskUsage] = {}
        self._chosen: dict[str, TaskResources] = {}
        self._unwritten: set[str] = set()
        self._own_lock = threading.Lock()

    def apply(self, record: Record) -> None:
        with self._own_lock:
            if record.topic == RESOURCES:
                if record.value is None:
                    self._chosen.pop(record.key, None)
                else:
                    self._chosen[record.key] = record.decode(TaskResources)
            elif record.value is not None:
                self._read(record.key, record.decode(TaskUsage))

    def _read(self, key: str, found: TaskUsage) -> None:
        known = self._usage.get(key)
        if known is None:
            self._usage[key] = found
            return
        stored = {sample.id for sample in found.samples}
        found = self._united(key, found, known.samples)
        self._usage[key] = found
        if {sample.id for sample in found.samples} <= stored:
            self._unwritten.discard(key)
        else:
            self._unwritten.add(key)

    def _united(self, key: str, usage: TaskUsage, more: object) -> TaskUsage:
        united = TaskUsage()
        united.CopyFrom(usage)
        del united.samples[:]
        united.samples.extend(unite([*usage.samples, *more], self._forget_until(key)))  # type: ignore[misc]
        return united

    def _forget_until(self, key: str) -> int:
        chosen = self._chosen.get(key)
        return chosen.reset_time.ToNanoseconds() if chosen is not None and chosen.HasField("reset_time") else 0

    def memory(self, dag_id: str, task_id: str, configured: Memory) -> Memory:
        """What the task's next try asks for."""
        key = f"{dag_id}/{task_id}"
        with self._own_lock:
            return decide(configured, self._usage.get(key), self._chosen.get(key), self._policy)

    def learn(self, dag_id: str, task_id: str, sample: UsageSample, configured: Memory) -> None:
        """Takes a try's usage in; counts from now on, and is written by the next `flush`."""
        key = f"{dag_id}/{task_id}"
        with self._own_lock:
            known = self._usage.get(key) or TaskUsage(dag_id=dag_id, task_id=task_id)
            usage = self._united(key, known, [sample])
            usage.configured_request_bytes, usage.configured_limit_bytes = configured.request, configured.limit
            self._usage[key] = usage
            self._unwritten.add(key)

    def flush(self, post: Callable[[Outgoing], None]) -> None:
        """Queues the records that are due. A kill before loses a moment's samples, which the next tries give anew."""
        with self._own_lock:
            keys, self._unwritten = self._unwritten, set()
            records = [self._record(key) for key in keys]
        for record in records:
            post(record)

    def _record(self, key: str) -> Outgoing:
        usage = self._usage[key]
        usage.learned_request_bytes = learned_request(usage.samples, self._policy)
        usage.raised_limit_bytes = raised(usage.samples, self._policy)[0]
        configured = Memory(usage.configured_request_bytes, usage.configured_limit_bytes, "configured")
        following = decide(configured, usage, None, self._policy)
        usage.next_request_bytes, usage.next_limit_bytes = following.request, following.limit
        usage.next_source = following.source
        usage.time.FromDatetime(datetime.now(UTC))
        written = TaskUsage()
        written.CopyFrom(usage)
        return Outgoing(USAGE, key, written)
