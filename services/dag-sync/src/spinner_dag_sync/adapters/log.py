"""The ledger's two sides on the log: reading it back at start, and writing changes in an order that loses nothing.

Definitions are durable before they are announced; parse errors are independent of both.
"""

from __future__ import annotations

import logging
import threading

from spinner_eventlog.interface import EventLog, Outgoing, Poison, RecordTooLarge, Transient
from spinner_eventlog.topics import cell, inbox_topic
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.inbox.v1 import inbox_pb2

from spinner_dag_sync.domain.ledger import Announcement, Changes, Ledger

_logger = logging.getLogger(__name__)
DEFINITIONS = "workflow_definitions"
ERRORS = "workflow_parse_errors"
HISTORY = "parse_error_history"


class LogWriter:
    """Thread-safe; one `write` at a time."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._producer = log.producer("dag-sync")
        self._lock = threading.Lock()
        self._partitions: dict[str, int] = {}
        self._failure: Exception | None = None

    def recover(self) -> tuple[Ledger, int]:
        """Returns the ledger as the log tells it, and the number of records that could not be read. Blocks.

        A record whose key is not that of what it holds was put there by somebody else: it isn't believed.
        """
        ledger, unreadable = Ledger(), 0
        for partition in range(self._log.partition_count(DEFINITIONS)):
            for record in self._log.read_all(DEFINITIONS, partition):
                if record.value is None:
                    continue
                try:
                    definition = record.decode(pb.DagDefinition)
                except Poison:
                    unreadable += 1
                    continue
                if record.key == f"{definition.dag_id}@{definition.version}" and definition.placement.tier:
                    ledger.restore_definition(definition)
                else:
                    unreadable += 1
        for partition in range(self._log.partition_count(ERRORS)):
            for record in self._log.read_compacted(ERRORS, partition).values():
                try:
                    error = record.decode(pb.ParseError)
                except Poison:
                    unreadable += 1
                    continue
                if record.key == f"{error.bundle}/{error.relative_path}":
                    ledger.restore_error(error)
                else:
                    unreadable += 1
        return ledger, unreadable

    def partitions_of(self, name: str) -> int:
        """Returns the number of scheduler partitions of a cell, 0 when it does not exist."""
        if name not in self._partitions:
            cluster, _, tier = name.rpartition("_tier_")
            try:
                count = self._log.partition_count(inbox_topic(cluster, int(tier)))
            except (Transient, LookupError):
                # Raises Transient again when it is the broker that is away, not the topic.
                self._log.end_offset(DEFINITIONS, 0)
                return 0
            self._partitions[name] = count
        return self._partitions[name]

    def write(self, changes: Changes) -> tuple[Changes, dict[str, str]]:
        """Writes changes and blocks until they are durable.

        Returns what was written, and the definitions that the log refused for their size: dag id → reason.
        Raises Transient; writing the same changes again is harmless.
        """
        with self._lock:
            refused: dict[str, str] = {}
            for definition in changes.definitions:
                try:
                    self._send(_definition_record(definition))
                except RecordTooLarge as error:
                    refused[definition.dag_id] = str(error)
            for ended in changes.ended:
                self._send(Outgoing(HISTORY, f"{ended.error.bundle}/{ended.error.relative_path}", ended))
            for parse_error in changes.errors:
                self._send(Outgoing(ERRORS, f"{parse_error.bundle}/{parse_error.relative_path}", parse_error))
            for bundle, path in changes.mended:
                self._send(Outgoing(ERRORS, f"{bundle}/{path}", None))
            self._flush()
            written = Changes(
                [item for item in changes.definitions if item.dag_id not in refused],
                [item for item in changes.announcements if item.version is None or item.dag_id not in refused],
                changes.errors,
                changes.mended,
                changes.ended,
                [item for item in changes.timetables if item[0].dag_id not in refused],
            )
            for announcement in written.announcements:
                if announcement.version is None and not self._exists(announcement.placement):
                    _logger.info("DAG %s is forgotten; its cell no longer exists", announcement.dag_id)
                    continue
                self._send(_announcement_record(announcement))
            for evaluated, placement in written.timetables:
                message = inbox_pb2.InboxMessage(timetable_evaluated=evaluated)
                topic = inbox_topic(placement.cluster, placement.tier)
                self._send(Outgoing(topic, evaluated.dag_id, message, partition=placement.partition))
            self._flush()
            return written, refused

    def close(self) -> None:
        self._producer.close()

    def _exists(self, placement: common_pb2.Placement) -> bool:
        return placement.partition < self.partitions_of(cell(placement.cluster, placement.tier))

    def _send(self, outgoing: Outgoing) -> None:
        self._producer.send(outgoing, self._delivered)

    def _flush(self) -> None:
        self._producer.flush()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise Transient(f"A record was not written: {failure}") from failure

    def _delivered(self, error: Exception | None, _offset: int) -> None:
        if error is not None:
            self._failure = error


def _definition_record(definition: pb.DagDefinition) -> Outgoing:
    placement = definition.placement
    return Outgoing(
        DEFINITIONS,
        f"{definition.dag_id}@{definition.version}",
        definition,
        headers={
            "spinner-dag-id": definition.dag_id,
            "spinner-cluster": placement.cluster,
            "spinner-tier": str(placement.tier),
            "spinner-partition": str(placement.partition),
            "spinner-version": definition.version,
            # Whether a reader of headers has to look inside before it triggers the DAG.
            "spinner-params": "1" if definition.params_json not in ("", "{}") else "0",
        },
    )


def _announcement_record(announcement: Announcement) -> Outgoing:
    message = inbox_pb2.InboxMessage()
    if announcement.version is None:
        message.definition_removed.dag_id = announcement.dag_id
    else:
        message.definition_published.dag_id = announcement.dag_id
        message.definition_published.version = announcement.version
    placement = announcement.placement
    topic = inbox_topic(placement.cluster, placement.tier)
    return Outgoing(topic, announcement.dag_id, message, partition=placement.partition)
