"""Follows the topic in which schedulers ask for more of a custom timetable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from spinner_eventlog.interface import EventLog, Poison, Reader, Record, TopicPartition, Transient
from spinner_proto.definitions.v1.definitions_pb2 import TimetableRequest

from spinner_dag_sync.domain.requests import Requests

_logger = logging.getLogger(__name__)
TOPIC = "timetable_requests"
_AGAIN_SECONDS = 1.0


class RequestFollower:
    """Fills `requests` from the log, in a thread; `on_request` is told the bundle of each that comes later."""

    def __init__(self, log: EventLog, requests: Requests, on_request: Callable[[str], None]) -> None:
        self._log, self._requests, self._on_request = log, requests, on_request
        self._positions: dict[TopicPartition, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="timetable-requests", daemon=True)

    def recover(self) -> None:
        """Reads what is asked by now. Blocks; raises Transient."""
        for partition in range(self._log.partition_count(TOPIC)):
            for record in self._log.read_all(TOPIC, partition):
                self._take(record)
            self._positions.setdefault((TOPIC, partition), 0)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after its current poll."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(3)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            reader: Reader | None = None
            try:
                reader = self._log.reader(list(self._positions), self._positions, tail_only=True)
                while not self._stopping.is_set():
                    bundles = {self._take(record) for record in reader.poll(500, 0.2)} - {""}
                    for bundle in sorted(bundles):
                        self._on_request(bundle)
            except Transient as error:
                _logger.warning("Reading %s: %s; trying again", TOPIC, error)
                self._stopping.wait(_AGAIN_SECONDS)
            finally:
                if reader is not None:
                    reader.close()

    def _take(self, record: Record) -> str:
        """Notes a record; returns the bundle that has something to do, or ""."""
        self._positions[record.topic, record.partition] = record.offset + 1
        if record.value is None:
            self._requests.take(record.key, None)
            return ""
        try:
            request = record.decode(TimetableRequest)
        except Poison as error:
            _logger.warning("%s", error)
            return ""
        if request.dag_id != record.key:
            _logger.warning(
                "%s[%d] at %d: its key %r is not its DAG's", TOPIC, record.partition, record.offset, record.key
            )
            return ""
        self._requests.take(request.dag_id, request)
        return request.bundle
