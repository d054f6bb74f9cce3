"""DAG definitions by version, from the compacted topic `workflow_definitions`.

Read to its end before the first decision and tailed by a thread afterwards. Definitions are kept as bytes and
decoded when first needed, so that 100,000 of them cost their size and no time.
"""

from __future__ import annotations

import logging
import threading
import time

import zstandard
from spinner_eventlog.interface import EventLog, Poison, Record, TopicPartition, Transient
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition

logger = logging.getLogger("spinner_scheduler.definitions")

TOPIC = "workflow_definitions"
_COMPRESS_ABOVE = 2_048
_PATIENCE_SECONDS = 60.0


class Definitions:
    """Thread-safe. `start` blocks until the topic has been read to its end once."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._values: dict[str, tuple[bool, bytes]] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._positions: dict[TopicPartition, int] = {}

    def start(self) -> None:
        """Reads to the end, then keeps reading in the background. Raises Transient when the broker stays away."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._read_all()
                break
            except Transient as error:
                if time.monotonic() > deadline:
                    raise
                logger.warning("reading %s: %s; again in 0.5 s", TOPIC, error)
                self._stopping.wait(0.5)
        self._thread = threading.Thread(target=self._tail, name="definitions", daemon=True)
        self._thread.start()

    def _read_all(self) -> None:
        for partition in range(self._log.partition_count(TOPIC)):
            at = (TOPIC, partition)
            for record in self._log.read_all(TOPIC, partition, self._positions.get(at, 0)):
                self._take(record)
                self._positions[at] = record.offset + 1
            self._positions.setdefault(at, 0)

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)

    def get(self, dag_id: str, version: str) -> DagDefinition | None:
        """Returns a definition that is known already; doesn't block."""
        found = self._values.get(f"{dag_id}@{version}")
        if found is None:
            return None
        compressed, value = found
        definition = DagDefinition()
        try:
            definition.ParseFromString(zstandard.decompress(value) if compressed else value)
        except Exception as error:  # noqa: BLE001 - protobuf raises its own DecodeError, without a stable public base
            logger.error("definition %s@%s can't be decoded: %s", dag_id, version, error)
            return None
        return definition

    def wait_for(self, dag_id: str, version: str, seconds: float) -> bool:
        """Blocks until a definition is known, at most for `seconds`."""
        key = f"{dag_id}@{version}"
        with self._changed:
            return self._changed.wait_for(lambda: key in self._values, seconds)

    def __len__(self) -> int:
        return len(self._values)

    def _take(self, record: Record) -> None:
        if record.value is None:
            self._values.pop(record.key, None)
            return
        if record.headers.get("ce_type", DagDefinition.DESCRIPTOR.full_name) != DagDefinition.DESCRIPTOR.full_name:
            logger.warning("%s", Poison(record.topic, record.partition, record.offset, "not a DagDefinition"))
            return
        small = len(record.value) < _COMPRESS_ABOVE
        self._values[record.key] = (not small, record.value if small else zstandard.compress(record.value, 1))

    def _tail(self) -> None:
        while not self._stopping.is_set():
            reader = self._log.reader(list(self._positions), self._positions)
            try:
                while not self._stopping.is_set():
                    records = reader.poll(500, 0.2)
                    if records:
                        with self._changed:
                            for record in records:
                                self._take(record)
                                self._positions[(record.topic, record.partition)] = record.offset + 1
                            self._changed.notify_all()
            except Transient as error:
                logger.warning("reading %s: %s; again in 1 s", TOPIC, error)
                self._stopping.wait(1)
            finally:
                reader.close()
