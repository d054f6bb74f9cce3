"""Search and logs in Elasticsearch, by setting; the database's views stay what they are.

The index is a second view of the log: documents have ids made of their keys, so that a batch written twice is the
same, and the position is stored after the batch was accepted. It keeps to what every Elasticsearch 8 has: explicit
mappings, bulk, wildcard and match queries, daily log indices that are dropped whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from elasticsearch import ApiError, Elasticsearch, TransportError
from elasticsearch.helpers import BulkIndexError, bulk
from spinner_eventlog.interface import EventLog, Poison, Reader, Record, TopicPartition, Transient
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.diagnoses.v1 import diagnoses_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.logs.v1 import logs_pb2
from spinner_servicekit.logs import logger

from spinner_webgateway.adapters import database, schema
from spinner_webgateway.adapters.search import HITS_A_KIND, hit
from spinner_webgateway.domain import words

READER = "elasticsearch"
BATCH_RECORDS = 500
RETRY_SECONDS = (0.5, 2.0, 10.0)
RETENTION_PERIOD = timedelta(hours=1)
PIECE_BYTES = 16 * 1024
"""A log chunk is indexed in pieces of whole lines, so that a hit leads near its line."""

_log = logger("spinner.webgateway.elasticsearch")
_KEYWORD = {"type": "keyword", "ignore_above": 1000}
_TEXT = {"type": "text"}
_MAPPINGS: dict[str, dict[str, Any]] = {
    "dags": {"dag_id": _KEYWORD, "owner": _KEYWORD, "tags": _KEYWORD, "description": _TEXT},
    "runs": {"dag_id": _KEYWORD, "run_id": _KEYWORD, "state": _KEYWORD, "time": {"type": "date"}},
    "errors": {"dag_id": _KEYWORD, "relative_path": _KEYWORD, "error_type": _KEYWORD, "message": _TEXT},
    "tasks": {
        "dag_id": _KEYWORD,
        "run_id": _KEYWORD,
        "task_id": _KEYWORD,
        "map_index": {"type": "integer"},
        "try_number": {"type": "integer"},
        "category": _KEYWORD,
        "title": _TEXT,
        "evidence": _TEXT,
    },
}
_LOG_MAPPING = {
    **{name: _MAPPINGS["tasks"][name] for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")},
    "text": _TEXT,
    "time": {"type": "date"},
}


def connect(url: str) -> Elasticsearch:
    """Returns a client that doesn't retry for ever."""
    return Elasticsearch(url, request_timeout=10, retry_on_timeout=True, max_retries=2)


def index_topics(cells: Iterable[str], cluster: str) -> list[str]:
    """Returns the topics that are indexed."""
    facts = ["workflow_definitions", "workflow_parse_errors", "failure_diagnoses", f"task_logs-{cluster}"]
    return [*(f"workflow_events-{cell}" for cell in cells), *facts]


class ElasticIndexer:
    """Follows the log into Elasticsearch. `run` is for one thread of its own."""

    def __init__(
        self, client: Elasticsearch, prefix: str, log_days: int, log: EventLog, engine: sa.Engine, topics: Sequence[str]
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._log_days = log_days
        self._log = log
        self._engine = engine
        self._topics = list(topics)
        self._reader: Reader | None = None
        self._stop = threading.Event()
        self._swept = datetime.min.replace(tzinfo=UTC)

    def run(self) -> None:
        """Indexes until `stop`; waits for a server that is away."""
        failures = 0
        while not self._stop.is_set():
            try:
                self.step()
                failures = 0
            except (ApiError, TransportError, BulkIndexError, Transient, sa.exc.OperationalError) as error:
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                _log.warning("indexing_waits", error=str(error)[:500], retry_seconds=pause)
                self._close_reader()
                self._stop.wait(pause)
        self._close_reader()

    def stop(self) -> None:
        self._stop.set()

    def step(self) -> int:
        """Indexes one batch; returns its number of records."""
        if self._reader is None:
            self._prepare()
            self._reader = self._log.reader(self._partitions(), start=self._positions())
        self._sweep(datetime.now(UTC))
        batch = self._reader.poll(BATCH_RECORDS, 0.2)
        if batch:
            actions = [action for record in batch for action in self._actions(record)]
            if actions:
                # A conflict says that a later definition was indexed before: as it should be.
                _, answers = bulk(self._client, actions, raise_on_error=False)
                errors = answers if isinstance(answers, list) else []
                wrong = [e for e in errors if next(iter(e.values())).get("status") not in (404, 409)]
                if wrong:
                    raise BulkIndexError(f"{len(wrong)} documents were refused", wrong[:3])
            self._store({(r.topic, r.partition): r.offset + 1 for r in batch})
        return len(batch)

    def _prepare(self) -> None:
        self._client.cluster.health(wait_for_status="yellow", timeout="5s")
        for name, properties in _MAPPINGS.items():
            index = f"{self._prefix}-{name}"
            if not self._client.indices.exists(index=index):
                self._client.indices.create(
                    index=index,
                    mappings={"dynamic": False, "properties": properties},
                    settings={"number_of_shards": 1, "number_of_replicas": 0},
                )
        self._client.indices.put_index_template(
            name=f"{self._prefix}-logs",
            index_patterns=[f"{self._prefix}-logs-*"],
            template={
                "mappings": {"dynamic": False, "properties": _LOG_MAPPING},
                "settings": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "5s"},
            },
        )

    def _sweep(self, now: datetime) -> None:
        if now - self._swept < RETENTION_PERIOD:
            return
        self._swept = now
        oldest = f"{self._prefix}-logs-{now - timedelta(days=self._log_days):%Y.%m.%d}"
        for index in self._client.indices.get(index=f"{self._prefix}-logs-*"):
            if index < oldest:
                self._client.indices.delete(index=index)
                _log.info("log_index_dropped", index=index)

    def _actions(self, record: Record) -> Iterator[dict[str, Any]]:
        topic = record.topic.partition("-")[0]
        try:
            if topic == "workflow_events" and record.value is not None:
                yield from self._runs(record.decode(events_pb2.WorkflowEvents))
            elif topic == "workflow_definitions" and record.value is not None:
                yield from self._dag(record.decode(definitions_pb2.DagDefinition))
            elif topic == "workflow_parse_errors":
                yield self._error(record)
            elif topic == "failure_diagnoses" and record.value is not None:
                yield self._task(record.key, record.decode(diagnoses_pb2.FailureDiagnosis))
            elif topic == "task_logs" and record.value is not None:
                yield from self._pieces(record.key, record.decode(logs_pb2.TaskLogChunk))
        except Poison:
            return  # The projection puts unreadable records aside; here they are only not found.

    def _runs(self, message: events_pb2.WorkflowEvents) -> Iterator[dict[str, Any]]:
        states = [e.run_state_changed.state for e in message.events if e.WhichOneof("kind") == "run_state_changed"]
        created = any(e.WhichOneof("kind") == "run_created" for e in message.events)
        if created or states:
            state = words.run_state(states[-1]) if states else "queued"
            time = words.iso(words.micros(message.time) or 0)
            document = {"dag_id": message.dag_id, "run_id": message.run_id, "state": state, "time": time}
            yield self._put("runs", f"{message.dag_id}/{message.run_id}", document)

    def _dag(self, message: definitions_pb2.DagDefinition) -> Iterator[dict[str, Any]]:
        if message.dynamic_source_version:
            return
        document = {
            "dag_id": message.dag_id,
            "owner": message.owner,
            "tags": list(message.tags),
            "description": message.description,
        }
        version = words.micros(message.parsed_time) or 1
        action = self._put("dags", message.dag_id, document)
        yield {**action, "version": version, "version_type": "external_gte"}

    def _error(self, record: Record) -> dict[str, Any]:
        if record.value is None:
            return {"_op_type": "delete", "_index": f"{self._prefix}-errors", "_id": record.key[:500]}
        message = record.decode(definitions_pb2.ParseError)
        document = {
            "dag_id": list(message.dag_ids),
            "relative_path": message.relative_path,
            "error_type": message.error_type,
            "message": message.message,
        }
        return self._put("errors", record.key[:500], document)

    def _task(self, key: str, message: diagnoses_pb2.FailureDiagnosis) -> dict[str, Any]:
        document = {
            **_try_fields(message.try_key),
            "category": message.category,
            "title": message.title,
            "evidence": "\n".join(line.text for line in message.evidence),
        }
        return self._put("tasks", key[:500], document)

    def _pieces(self, key: str, chunk: logs_pb2.TaskLogChunk) -> Iterator[dict[str, Any]]:
        time = words.micros(chunk.time) or 0
        day = (words.time_of(time) or datetime.now(UTC)).strftime("%Y.%m.%d")
        for offset, text in pieces(chunk.text, chunk.offset):
            document = {**_try_fields(chunk.try_key), "text": text, "time": words.iso(time)}
            index = f"{self._prefix}-logs-{day}"
            yield {"_op_type": "index", "_index": index, "_id": f"{key[:450]}:{offset}", "_source": document}

    def _put(self, name: str, key: str, document: dict[str, Any]) -> dict[str, Any]:
        return {"_op_type": "index", "_index": f"{self._prefix}-{name}", "_id": key, "_source": document}

    def _partitions(self) -> list[TopicPartition]:
        return [(topic, n) for topic in self._topics for n in range(self._log.partition_count(topic))]

    def _positions(self) -> dict[TopicPartition, int]:
        table = schema.positions.c
        query = sa.select(table.topic, table.partition, table.next_offset).where(table.reader == READER)
        with self._engine.connect() as connection:
            return {(topic, partition): offset for topic, partition, offset in connection.execute(query)}

    def _store(self, positions: dict[TopicPartition, int]) -> None:
        rows = [
            {"reader": READER, "topic": topic, "partition": partition, "next_offset": offset}
            for (topic, partition), offset in positions.items()
        ]
        with self._engine.begin() as connection:
            database.upsert(connection, schema.positions, rows)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _try_fields(key: Any) -> dict[str, Any]:
    return {name: getattr(key, name) for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")}


def pieces(text: bytes, offset: int) -> Iterator[tuple[int, str]]:
    """Yields (byte offset, text) of pieces of whole lines; a longer line is a piece of its own."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + PIECE_BYTES) + 1
        if end <= start:
            found = text.find(b"\n", start)
            end = len(text) if found < 0 else found + 1
        yield offset + start, text[start:end].decode(errors="replace")
        start = end


MOST_PIECES = 5000


def indexed_log(client: Elasticsearch, prefix: str, row: Mapping[str, Any]) -> bytes:
    """Returns the text of a try's log as far as it is in the index: its beginning and its end. Blocks."""
    wanted = [{"term": {name: row[name]}} for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")]
    answer = client.search(
        index=f"{prefix}-logs-*", ignore_unavailable=True, query={"bool": {"filter": wanted}}, size=MOST_PIECES
    )
    found = {int(hit["_id"].rpartition(":")[2]): hit["_source"]["text"].encode() for hit in answer["hits"]["hits"]}
    text, at = bytearray(), 0
    for offset in sorted(found):
        if offset > at:
            text += f"[{offset - at:,} bytes of the log are not in the search index]\n".encode()
        # An executor that took over may have cut the same text elsewhere.
        text += found[offset][max(0, at - offset) :]
        at = max(at, offset + len(found[offset]))
    return bytes(text)


class ElasticSearch:
    """Search over what the indexer wrote. Thread-safe."""

    kind: Literal["database", "elasticsearch"] = "elasticsearch"

    def __init__(self, client: Elasticsearch, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def log_of(self, row: Mapping[str, Any]) -> bytes:
        """Returns what is indexed of a try's log; nothing while the server is away."""
        try:
            return indexed_log(self._client, self._prefix, row)
        except (ApiError, TransportError) as error:
            _log.warning("indexed_log_unavailable", error=str(error)[:500])
            return b""

    def find(self, text: str) -> list[dict[str, Any]]:
        needle = text.strip()
        if not needle:
            return []
        searches: list[dict[str, Any]] = []
        for name, keywords, texts in _SEARCHED:
            searches += [
                {"index": f"{self._prefix}-{name}", "ignore_unavailable": True},
                {
                    "size": HITS_A_KIND,
                    "query": _query(needle, keywords, texts),
                    "highlight": {
                        "pre_tags": [""],
                        "post_tags": [""],
                        "fragment_size": 120,
                        "number_of_fragments": 1,
                        "fields": {field: {} for field in texts},
                    },
                },
            ]
        answers = self._client.msearch(searches=searches)["responses"]
        hits = []
        for (name, _, _), answer in zip(_SEARCHED, answers, strict=True):
            hits += [_hit(name, found) for found in answer.get("hits", {}).get("hits", [])]
        return hits


_SEARCHED: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("dags", ("dag_id", "owner", "tags"), ("description",)),
    ("runs", ("run_id",), ()),
    ("errors", ("relative_path", "error_type"), ("message",)),
    ("tasks", ("task_id", "category"), ("title", "evidence")),
    ("logs-*", (), ("text",)),
)


def _query(needle: str, keywords: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    escaped = needle.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
    clauses: list[dict[str, Any]] = [
        {"wildcard": {field: {"value": f"*{escaped}*", "case_insensitive": True}}} for field in keywords
    ]
    clauses += [{"match_phrase_prefix": {field: {"query": needle}}} for field in texts]
    return {"bool": {"should": clauses, "minimum_should_match": 1}}


def _hit(name: str, found: Any) -> dict[str, Any]:
    source = found["_source"]
    marked = next(iter(found.get("highlight", {}).values()), [""])[0]
    where = {key: source[key] for key in ("run_id", "task_id", "map_index", "try_number") if key in source}
    if name == "dags":
        return hit("dag", source["dag_id"], subtitle=source["owner"], dag_id=source["dag_id"], highlight=marked)
    if name == "runs":
        subtitle = f"{source['dag_id']} · {source['state']}"
        return hit("run", source["run_id"], subtitle=subtitle, dag_id=source["dag_id"], run_id=source["run_id"])
    if name == "errors":
        dag_id = next(iter(source["dag_id"]), "")
        subtitle = source["error_type"]
        return hit("error", source["relative_path"], subtitle=subtitle, dag_id=dag_id, highlight=marked)
    if name == "tasks":
        subtitle = f"{source['dag_id']} · {source['title']}"
        return hit("task", source["task_id"], subtitle=subtitle, dag_id=source["dag_id"], highlight=marked, **where)
    title = f"{source['task_id']} try {source['try_number']}"
    return hit("log", title, subtitle=source["dag_id"], dag_id=source["dag_id"], highlight=marked, **where)
