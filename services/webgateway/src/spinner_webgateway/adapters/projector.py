"""The log → the database, every record exactly once.

A batch is one SQL transaction: the rows that it changes and, for every partition, the next offset to read. Whatever
dies in between, the rows and the positions tell the same story; records before a position are skipped. The reader
belongs to no consumer group: the database alone says where to go on.

Records that can't be read go to `dead_letters`, before the position passes them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client import Counter as Metric
from prometheus_client import Gauge, Histogram
from spinner_eventlog.dead_letter import dead_letter
from spinner_eventlog.interface import EventLog, Poison, Producer, Reader, Record, TopicPartition, Transient
from spinner_proto.events.v1 import events_pb2
from spinner_servicekit.logs import logger

from spinner_webgateway.adapters import database, schema
from spinner_webgateway.adapters.hub import ChangeHub
from spinner_webgateway.domain import records
from spinner_webgateway.domain.changes import Change, change_of
from spinner_webgateway.domain.records import Reading
from spinner_webgateway.domain.rows import Need, WorkingSet
from spinner_webgateway.domain.unreadable import Unreadable

READER = "views"
BATCH_RECORDS = 2000
_IDLE_SECONDS = 0.5
# A page shows a change this much later, which nobody sees.
# A change after a calm is shown at once, a stream of changes five times a second. Answers to commands never wait.
_GATHER_SECONDS = 0.02
_BUSY_GATHER_SECONDS = 0.2
_SMALL_BATCH = 500
# The broker is asked again when all that came is polled: this is longer than its answer takes.
_REFILL_SECONDS = 0.02
RETRY_SECONDS = (0.1, 0.5, 2.0, 5.0)

_log = logger("spinner.webgateway.projector")
_applied = Metric("spinner_views_records_total", "Records projected into the views", ["topic"])
_seconds = Histogram("spinner_views_batch_seconds", "Time to project one batch")
_behind = Gauge("spinner_views_lag_records", "Records not yet projected")


_MINE = schema.positions.c.reader == READER
_LOCK = sa.update(schema.positions).where(_MINE).values(next_offset=schema.positions.c.next_offset)
_READ = sa.select(schema.positions.c.topic, schema.positions.c.partition, schema.positions.c.next_offset).where(_MINE)


@dataclass(slots=True)
class _Letter:
    """A record on its way to the dead letters."""

    record: Record
    reason: str


def topics_of(cells: Iterable[str]) -> list[str]:
    """Returns the topics that feed the views of these cells."""
    return [*(f"{records.EVENTS}-{cell}" for cell in cells), *records.FACTS]


class Projector:
    """Owns the reader and the only writing transaction of the views. `step` and `run` are for one thread."""

    def __init__(
        self,
        log: EventLog,
        engine: sa.Engine,
        topics: Sequence[str],
        hub: ChangeHub | None = None,
    ) -> None:
        self._log = log
        self._engine = engine
        self._topics = list(topics)
        self._hub = hub or ChangeHub()
        self._reader: Reader | None = None
        self._producer: Producer | None = None
        self._partitions: list[TopicPartition] = []
        self._positions: dict[TopicPartition, int] = {}
        self._stop = threading.Event()

    def open(self) -> None:
        """Reads the positions and starts reading after them.

        Views of another log (their positions are past its end) are dropped and built anew.
        """
        self._partitions = [(topic, n) for topic in self._topics for n in range(self._log.partition_count(topic))]
        stored = self._stored_positions()
        ahead = [at for at in self._partitions if stored.get(at, 0) > self._log.end_offset(*at)]
        if ahead:
            _log.warning("views_of_another_log", partition=ahead[0], action="rebuilding the views from this log")
            database.drop_views(self._engine)
            database.migrate(self._engine)
            stored = {}
        self._positions = {at: stored.get(at, 0) for at in self._partitions}
        self._reader = self._log.reader(self._partitions, start=stored, read_ahead=False)

    def run(self) -> None:
        """Projects until `stop`. Database and broker outages are waited out."""
        failures, projected = 0, float("-inf")
        while not self._stop.is_set():
            try:
                busy = time.monotonic() - projected < 2 * _BUSY_GATHER_SECONDS
                if self.step(_IDLE_SECONDS, _BUSY_GATHER_SECONDS if busy else _GATHER_SECONDS):
                    projected = time.monotonic()
                failures = 0
            except (sa.exc.OperationalError, sa.exc.InterfaceError, Transient) as error:
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                _log.warning("projection_waits", error=str(error), retry_seconds=pause)
                self._stop.wait(pause)
                self._rewind()

    def stop(self) -> None:
        """Makes `run` return after the current batch. Thread-safe."""
        self._stop.set()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._producer is not None:
            self._producer.close()

    def step(self, timeout_seconds: float = 0.1, gather_seconds: float = 0.0) -> int:
        """Projects one batch; returns its number of records, 0 when none came in time.

        `gather_seconds`: how long a small batch waits for more, since one transaction costs much more than one record.
        """
        if self._reader is None:
            self.open()
        assert self._reader is not None  # noqa: S101 - open sets it
        batch = self._reader.poll(BATCH_RECORDS, timeout_seconds)
        if batch and gather_seconds:
            batch = self._gathered(self._reader, batch, gather_seconds)
        if batch:
            with _seconds.time():
                self.project(batch)
        self._pass_markers(self._reader)
        return len(batch)

    def _gathered(self, reader: Reader, batch: list[Record], seconds: float) -> list[Record]:
        """Returns the batch with what comes soon, unless it is large or somebody waits for something in it."""
        hurry, fresh = self._hub.hurry, batch
        until = time.monotonic() + seconds
        while len(batch) < _SMALL_BATCH and not (hurry.is_set() and self._answers(fresh)):
            left = until - time.monotonic()
            if left <= 0:
                return batch if hurry.is_set() else [*batch, *reader.poll(BATCH_RECORDS - len(batch), _REFILL_SECONDS)]
            if not hurry.is_set() and hurry.wait(left):
                continue
            fresh = reader.poll(BATCH_RECORDS - len(batch), left if hurry.is_set() else 0)
            batch = [*batch, *fresh]
        return batch

    def _answers(self, batch: Iterable[Record]) -> bool:
        """Whether one of the records has the answer to a command that somebody waits for."""
        for record in batch:
            if not record.topic.startswith(records.EVENTS):
                continue
            try:
                events = record.decode(events_pb2.WorkflowEvents).events
            except Poison:
                continue
            for event in events:
                kind = event.WhichOneof("kind")
                if kind in ("command_accepted", "command_rejected") and self._hub.is_awaited(
                    getattr(event, kind).request_id
                ):
                    return True
        return False

    def catch_up(self) -> int:
        """Projects until the end that the log had when called; returns the number of records. Blocks."""
        if self._reader is None:
            self.open()
        ends = self._ends()
        total = 0
        while any(self._positions[at] < end for at, end in ends.items()):
            total += self.step()
        return total

    def _ends(self) -> dict[TopicPartition, int]:
        while True:
            try:
                return {at: self._log.end_offset(*at) for at in self._partitions}
            except Transient as error:
                _log.warning("log_end_unknown", error=str(error))
                self._stop.wait(RETRY_SECONDS[0])

    def project(self, batch: Sequence[Record]) -> Change:
        """Applies records in order and commits them with their positions. Returns what changed."""
        letters: list[_Letter] = []
        readings = list(self._readings(batch, letters))
        with self._engine.begin() as connection:
            done = self._lock_positions(connection)
            fresh = [(record, reading) for record, reading in readings if record.offset >= done.get(_at(record), 0)]
            rows = WorkingSet()
            _load(connection, rows, (need for _, reading in fresh for need in records.needs(reading)))
            for record, reading in fresh:
                try:
                    records.apply(rows, reading)
                except Unreadable as error:
                    letters.append(_Letter(record, str(error)))
            _store(connection, rows)
            self._bury([letter for letter in letters if letter.record.offset >= done.get(_at(letter.record), 0)])
            positions = dict(done)
            for record in batch:
                positions[_at(record)] = max(positions.get(_at(record), 0), record.offset + 1)
            self._store_positions(connection, {at: n for at, n in positions.items() if n != done.get(at)})
        self._positions.update(positions)
        for topic, count in Counter(record.topic for record, _ in fresh).items():
            _applied.labels(topic).inc(count)
        change = change_of(rows)
        self._hub.publish(change)
        return change

    def lag(self) -> int:
        """Returns how many offsets are between the views and the log's end. Thread-safe; raises Transient."""
        if not self._partitions:
            raise Transient("the views have not been opened yet")
        behind = sum(max(0, self._log.end_offset(*at) - self._positions.get(at, 0)) for at in self._partitions)
        _behind.set(behind)
        return behind

    def _pass_markers(self, reader: Reader) -> None:
        """Transaction markers take offsets without being records: what the reader has passed is projected."""
        for at in self._partitions:
            self._positions[at] = max(self._positions[at], reader.position(*at))

    def _readings(self, batch: Iterable[Record], letters: list[_Letter]) -> Iterable[tuple[Record, Reading]]:
        for record in batch:
            topic, _, cell = record.topic.partition("-")
            try:
                message = None if record.value is None else record.decode(records.message_type(topic))
            except Poison as error:
                letters.append(_Letter(record, error.reason))
                continue
            yield record, Reading(topic, cell, record.partition, record.offset, record.key, message)

    def _bury(self, letters: Sequence[_Letter]) -> None:
        if not letters:
            return
        if self._producer is None:
            self._producer = self._log.producer("webgateway-dead-letters")
        for letter in letters:
            buried = dead_letter(letter.record, letter.reason)
            _log.error("record_unreadable", where=buried.key, reason=letter.reason, fix="see topic dead_letters")
            self._producer.send(buried)
        self._producer.flush()

    def _rewind(self) -> None:
        if self._reader is None:
            return
        try:
            self._positions.update(self._stored_positions())
        except sa.exc.OperationalError:
            return
        for topic, partition in self._partitions:
            self._reader.seek(topic, partition, self._positions.get((topic, partition), 0))

    def _stored_positions(self) -> dict[TopicPartition, int]:
        with self._engine.connect() as connection:
            return _positions(connection)

    def _lock_positions(self, connection: sa.Connection) -> dict[TopicPartition, int]:
        """Returns the positions, locked so that a second gateway on this database waits and then skips."""
        connection.execute(_LOCK)
        return _positions(connection)

    def _store_positions(self, connection: sa.Connection, positions: Mapping[TopicPartition, int]) -> None:
        database.upsert(
            connection,
            schema.positions,
            [
                {"reader": READER, "topic": topic, "partition": partition, "next_offset": offset}
                for (topic, partition), offset in positions.items()
            ],
        )


def _at(record: Record) -> TopicPartition:
    return record.topic, record.partition


def _positions(connection: sa.Connection) -> dict[TopicPartition, int]:
    return {(topic, partition): offset for topic, partition, offset in connection.execute(_READ)}


def _load(connection: sa.Connection, rows: WorkingSet, needed: Iterable[Need]) -> None:
    wanted: dict[str, dict[tuple[object, ...], None]] = {}
    for table, key in rows.missing(needed):
        wanted.setdefault(table, {})[key] = None
    for name, keys in wanted.items():
        table_ = schema.VIEWS[name]
        names = [column.name for column in table_.primary_key.columns]
        for key in keys:
            rows.loaded(name, key, None)
        for row in database.fetch(connection, table_, list(keys)):
            rows.loaded(name, tuple(row[column] for column in names), row)


def _store(connection: sa.Connection, rows: WorkingSet) -> None:
    for name, changed in rows.changed.items():
        table = schema.VIEWS[name]
        present = [row for key in changed if (row := rows.rows[name][key]) is not None]
        database.upsert(connection, table, present)
        database.delete(connection, table, [key for key in changed if rows.rows[name][key] is None])
