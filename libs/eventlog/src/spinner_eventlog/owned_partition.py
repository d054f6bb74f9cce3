"""One owned partition: its writer, its state machine, its reader, and the step that joins them.

A life: fence earlier owners → restore → read from the group's committed offset → step, step, … until it is revoked,
fenced, or an aborted transaction makes its memory worthless. It is never repaired: a new one is made.

With `overlap`, and while there is more to do, decisions are made during the commit of those before them: a transaction
is in flight on a thread of its own, and all that is decided meanwhile makes up the next. Nothing leaves the process
but by these transactions, one after the other, so deciding ahead is never seen; when one fails, memory is dropped as
ever. Without a backlog a step commits on the caller's own thread, which is quicker for a single record.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from google.protobuf.message import Message

from spinner_eventlog import telemetry
from spinner_eventlog.dead_letter import dead_letter
from spinner_eventlog.envelope import traces_by_key
from spinner_eventlog.interface import (
    EventLog,
    GroupConsumer,
    Outgoing,
    Poison,
    Reader,
    Record,
    StateMachine,
    TransactionalProducer,
)

logger = logging.getLogger("spinner_eventlog.loop")


def commit_thread(name: str) -> Executor:
    """What commits while the partition's own thread decides."""
    return ThreadPoolExecutor(1, name)


State = Literal["restoring", "active", "waiting"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the partitions of a loop have in common; see PartitionLoop for the meaning."""

    log: EventLog
    transactional_id_for: Callable[[str, int], str]
    machine_factory: Callable[[str, int], StateMachine]
    clock: Callable[[], datetime]
    decode: type[Message] | None
    on_poison: Callable[[Record, str], None] | None
    max_batch: int
    max_wait_seconds: float
    patience: Callable[[Record], float]
    overlap: bool = False
    commits: Callable[[str], Executor] = commit_thread


# More outputs than this are not put into one transaction by deciding ahead.
_LARGE_TRANSACTION = 5_000
_CLOSE_SECONDS = 5.0


@dataclass(slots=True)
class _Decided:
    """What one transaction will hold: the outputs of some calls of `handle`, in order."""

    outputs: list[Outgoing] = field(default_factory=list)
    # Whether `handle` was called, the number of its outputs, and of dead letters that the machine doesn't know of.
    sizes: list[tuple[bool, int, int]] = field(default_factory=list)
    records: int = 0
    position: int | None = None


class OwnedPartition:
    """Used by one thread. `state` and `position` may be read by others."""

    def __init__(self, recipe: Recipe, group: GroupConsumer, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.state: State = "restoring"
        self.position = 0
        self._recipe = recipe
        self._group = group
        self._now: datetime | None = None
        self._machine: StateMachine | None = None
        self._producer: TransactionalProducer | None = None
        self._reader: Reader | None = None
        # Read already, to be decided by the next step.
        self._ahead: list[Record] = []
        self._next = _Decided()
        self._flight: tuple[_Decided, Future[list[int]]] | None = None
        self._commits = recipe.commits(f"commit-{topic}[{partition}]") if recipe.overlap else None
        labels = (topic, str(partition))
        self._records = telemetry.RECORDS.labels(*labels)
        self._outputs = telemetry.OUTPUTS.labels(*labels)
        self._handle_seconds = telemetry.HANDLE_SECONDS.labels(topic)
        self._commit_seconds = telemetry.COMMIT_SECONDS.labels(topic)
        self._owned = telemetry.OWNED.labels(*labels)

    def open(self) -> None:
        """Fences, restores, finds the position. Raises Fenced, Transient, and what the machine raises (a bug)."""
        recipe, at = self._recipe, (self.topic, self.partition)
        started = time.monotonic()
        self._producer = recipe.log.transactional_producer(recipe.transactional_id_for(*at))
        self._machine = recipe.machine_factory(*at)
        self._machine.restore()
        # Only now: the fence has ended the transaction of an earlier owner, so its offset can't move any more.
        self.position = self._group.committed(*at) or 0
        self._reader = recipe.log.reader([at], {at: self.position}, tail_only=True)
        self.state = "active"
        self._owned.set(1)
        logger.info("own %s[%d] from offset %d, restored in %.3f s", *at, self.position, time.monotonic() - started)

    @property
    def machine(self) -> StateMachine | None:
        """The state machine while the partition is active; its thread is another one."""
        return self._machine if self.state == "active" else None

    def step(self, wait_seconds: float | None = None) -> bool:
        """Waits for records or the next timer, decides and commits; False when there was nothing to do.

        `wait_seconds` bounds the waiting (default: the recipe's). Raises Fenced, Transient, and what the machine
        raises.
        """
        assert self._machine is not None and self._reader is not None  # noqa: S101 - open() comes first
        if self._flight is not None and (self._flight[1].done() or self._must_wait()):
            self._land()
        due = self._machine.next_due()
        records, self._ahead = self._ahead, []
        if not records:
            longest = self._recipe.max_wait_seconds if wait_seconds is None else wait_seconds
            wait = longest if due is None else min(longest, max(0.0, (due - self._time()).total_seconds()))
            records = self._reader.poll(self._recipe.max_batch, 0.0 if self._flight is not None else wait)
        if records and self._flight is None:
            self._await_company(records, due)
        now = self._time()
        if not records and (due is None or due > now):
            if self._flight is None:
                return False
            self._land()
            return True
        readable, letters = self._sorted(records)
        started = time.perf_counter()
        handles = bool(readable) or (due is not None and due <= now)
        outputs = list(self._machine.handle(readable, now)) if handles else []
        decided = time.perf_counter()
        self._handle_seconds.observe(decided - started)
        if records or outputs:
            self._add(records, outputs, letters, handles)
            if self._flight is None:
                if self._commits is not None:
                    self._ahead = self._reader.poll(self._recipe.max_batch, 0.0)
                if self._ahead and (len(self._ahead) >= self._recipe.max_batch or self._patience(self._ahead) <= 0):
                    self._launch()
                else:
                    self._commit_now(decided)
        return True

    def _await_company(self, records: list[Record], due: datetime | None) -> None:
        """Adds what comes while none of the records is in a hurry: they share its transaction."""
        assert self._reader is not None  # noqa: S101 - open() comes first
        now = time.monotonic()
        until = math.inf if due is None else now + (due - self._time()).total_seconds()
        fresh: Sequence[Record] = records
        while True:
            until = min(until, now + self._patience(fresh))
            room = self._recipe.max_batch - len(records)
            if until <= now or room <= 0:
                return
            fresh = self._reader.poll(room, until - now)
            records.extend(fresh)
            now = time.monotonic()

    def _patience(self, records: Sequence[Record]) -> float:
        """How long all of the records may wait, seconds."""
        shortest = math.inf
        for record in records:
            shortest = min(shortest, self._recipe.patience(record))
            if shortest <= 0:
                break
        return shortest

    def close(self) -> None:
        """Idempotent; releases the clients. Nothing is written."""
        self._owned.set(0)
        if self._commits is not None:
            if self._flight is not None:
                with suppress(Exception):  # the next owner reads what became of it
                    self._flight[1].result(_CLOSE_SECONDS)
                self._flight = None
            self._commits.shutdown(wait=False)
        self._machine = None
        for client in (self._reader, self._producer):
            if client is not None:
                client.close()
        self._reader = self._producer = None

    # -- transactions ------------------------------------------------------------------------------------------

    def _add(self, records: Sequence[Record], outputs: list[Outgoing], letters: list[Outgoing], handled: bool) -> None:
        traces = traces_by_key(records)
        if traces:
            outputs = [_traced(output, traces) for output in outputs]
        decided = self._next
        decided.outputs += outputs
        decided.outputs += letters
        decided.sizes.append((handled, len(outputs), len(letters)))
        decided.records += len(records)
        if records:
            decided.position = records[-1].offset + 1

    def _taken(self) -> _Decided:
        decided, self._next = self._next, _Decided()
        return decided

    def _commit(self, producer: TransactionalProducer | None, decided: _Decided) -> list[int]:
        assert producer is not None  # noqa: S101 - open() comes first
        if decided.position is None:
            return producer.commit(decided.outputs)
        return producer.commit(decided.outputs, {(self.topic, self.partition): decided.position}, self._group)

    def _commit_now(self, started: float) -> None:
        decided = self._taken()
        offsets = self._commit(self._producer, decided)
        self._commit_seconds.observe(time.perf_counter() - started)
        self._landed(decided, offsets)

    def _launch(self) -> None:
        assert self._commits is not None  # noqa: S101 - only with overlap
        decided = self._taken()
        self._flight = (decided, self._commits.submit(self._timed_commit, self._producer, decided))

    def _timed_commit(self, producer: TransactionalProducer | None, decided: _Decided) -> list[int]:
        started = time.perf_counter()
        offsets = self._commit(producer, decided)
        self._commit_seconds.observe(time.perf_counter() - started)
        return offsets

    def _must_wait(self) -> bool:
        """Whether nothing more may be decided before the transaction in flight has ended."""
        assert self._machine is not None  # noqa: S101 - open() comes first
        return len(self._next.outputs) >= _LARGE_TRANSACTION or self._machine.needs_quiet()

    def _land(self) -> None:
        """Waits for the transaction in flight, and sends the next after it. Raises Fenced or Transient."""
        assert self._flight is not None  # noqa: S101 - asked before
        (decided, future), self._flight = self._flight, None
        self._landed(decided, future.result())
        if self._next.sizes:
            self._launch()
            assert self._machine is not None  # noqa: S101 - open() comes first
            if self._machine.needs_quiet():
                self._land()

    def _landed(self, decided: _Decided, offsets: list[int]) -> None:
        assert self._machine is not None  # noqa: S101 - open() comes first
        if decided.position is not None:
            self.position = decided.position
        self._records.inc(decided.records)
        self._outputs.inc(sum(outputs for _, outputs, _ in decided.sizes))
        at = 0
        for handled, outputs, letters in decided.sizes:
            if handled:
                self._machine.committed(offsets[at : at + outputs])
            at += outputs + letters

    def _sorted(self, records: Sequence[Record]) -> tuple[Sequence[Record], list[Outgoing]]:
        """The records that can be read, and letters for the others."""
        expected = self._recipe.decode
        if expected is None:
            return records, []
        readable: list[Record] = []
        letters: list[Outgoing] = []
        for record in records:
            try:
                record.decode(expected)
                readable.append(record)
            except Poison as poison:
                letters.append(dead_letter(record, poison.reason))
                if self._recipe.on_poison is not None:
                    self._recipe.on_poison(record, poison.reason)
        return readable, letters

    def _time(self) -> datetime:
        """The clock, never going back within this partition."""
        now = self._recipe.clock()
        if self._now is None or now > self._now:
            self._now = now
        return self._now


def _traced(output: Outgoing, traces: Mapping[str, str]) -> Outgoing:
    trace = traces.get("") or traces.get(output.key.partition("/")[0])
    if trace is None or "traceparent" in output.headers:
        return output
    return replace(output, headers={**output.headers, "traceparent": trace})
