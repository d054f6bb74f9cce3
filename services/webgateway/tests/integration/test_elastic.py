"""Search and logs in a real Elasticsearch."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.diagnoses.v1 import diagnoses_pb2
from spinner_proto.logs.v1 import logs_pb2
from spinner_webgateway.adapters.elastic import PIECE_BYTES, connect, pieces

KEY = common_pb2.TryKey(dag_id="etl_daily", run_id="r1", task_id="load", map_index=-1, try_number=1)


def chunk(text: str, offset: int = 0) -> logs_pb2.TaskLogChunk:
    message = logs_pb2.TaskLogChunk(try_key=KEY, offset=offset, text=text.encode())
    message.time.FromDatetime(datetime.now(UTC))
    return message


def test_pieces_are_whole_lines_that_join_to_the_text() -> None:
    text = b"".join(b"x" * n + b"\n" for n in (10, PIECE_BYTES * 2, 5, PIECE_BYTES - 3, 100)) + b"rest"
    found = list(pieces(text, 1000))
    assert "".join(part for _, part in found).encode() == text
    assert found[0][0] == 1000
    assert all(part.endswith("\n") for _, part in found[:-1])


@pytest.fixture(scope="module")
def searching(start_gateway: Any, elasticsearch_url: str) -> Any:
    return start_gateway(elasticsearch=elasticsearch_url, elasticsearch_prefix=f"t{uuid.uuid4().hex[:8]}")


def test_everything_is_found(
    searching: Any, elasticsearch_url: str, put: Any, put_records: Any, script: Any, eventually: Any
) -> None:
    log, prefix = searching.log, searching.settings.elasticsearch_prefix
    old = script.definition("etl_daily", version="v0")
    diagnosis = diagnoses_pb2.FailureDiagnosis(try_key=KEY, category="key_error", title="A key is missing")
    error = definitions_pb2.ParseError(
        bundle="main", relative_path="dags/broken.py", error_type="SyntaxError", message="invalid syntax near def"
    )
    newest = script.definition("etl_daily", version="v1")
    newest.description = "Loads the orders of the day"
    put_records(
        log,
        ("workflow_definitions", "etl_daily@v1", newest),
        ("workflow_definitions", "etl_daily@v0", old),
        ("workflow_parse_errors", "main/dags/broken.py", error),
        ("failure_diagnoses", "etl_daily/r1/load/-1/1", diagnosis),
        ("task_logs-spinner", "etl_daily/r1/load/-1/1", chunk("reading\nZebraError: stripes are missing\n")),
    )
    put(log, script.dag("etl_daily"), *script.whole_run("etl_daily", "manual__2026-11-27"))
    client = connect(elasticsearch_url)

    def found(text: str) -> list[tuple[str, str]]:
        client.indices.refresh(index=f"{prefix}-*")
        with searching.client() as http:
            return [(hit["kind"], hit["title"]) for hit in http.get("/search", params={"q": text}).json()]

    eventually(lambda: found("zebraerror stripes") == [("log", "load try 1")], "the log is found", 60)
    eventually(lambda: ("run", "manual__2026-11-27") in found("2026-11"), "the run is found")
    assert ("dag", "etl_daily") in found("L_DAI")
    assert found("orders of") == [("dag", "etl_daily")]
    assert found("broken.py") == [("error", "dags/broken.py")]
    assert found("key_error") == [("task", "load")]
    assert found("no*such") == []
    with searching.client() as http:
        assert http.get("/system").json()["search"] == "elasticsearch"
    put_records(log, ("workflow_parse_errors", "main/dags/broken.py", None))
    eventually(lambda: found("broken.py") == [], "the mended file is gone")


def test_old_log_indices_are_dropped_whole(searching: Any, elasticsearch_url: str) -> None:
    prefix = searching.settings.elasticsearch_prefix
    client = connect(elasticsearch_url)
    now = datetime.now(UTC)
    for days in (40, 1):
        client.indices.create(index=f"{prefix}-logs-{now - timedelta(days=days):%Y.%m.%d}")
    searching.parts.indexer._sweep(now + timedelta(hours=2))
    left = set(client.indices.get(index=f"{prefix}-logs-*"))
    assert f"{prefix}-logs-{now - timedelta(days=40):%Y.%m.%d}" not in left
    assert f"{prefix}-logs-{now - timedelta(days=1):%Y.%m.%d}" in left


def test_a_log_that_was_never_uploaded_is_read_from_the_index(
    searching: Any, put: Any, put_records: Any, script: Any, eventually: Any
) -> None:
    put_records(
        searching.log,
        ("workflow_definitions", "lost@v1", script.definition("lost")),
        ("task_logs-spinner", "lost/r1/t0/-1/1", _of_lost("first\n", 0)),
        ("task_logs-spinner", "lost/r1/t0/-1/1", _of_lost("second\nthird\n", 6)),
        ("task_logs-spinner", "lost/r1/t0/-1/1", _of_lost("after a gap\n", 100)),
    )
    running = script.task("lost", "r1", "t0", "running", executor="127.0.0.1:1", worker="w")
    put(searching.log, script.dag("lost"), script.created("lost", "r1"), running)
    searching.caught_up()
    with searching.client() as client:

        def lines() -> list[str]:
            page = client.get("/dags/lost/runs/r1/tasks/t0/-1/tries/1/log").json()
            return [line["text"] for line in page.get("lines", [])]

        missing = "[81 bytes of the log are not in the search index]"
        eventually(lambda: lines() == ["first", "second", "third", missing, "after a gap"], "the index has the log")


def _of_lost(text: str, offset: int) -> logs_pb2.TaskLogChunk:
    message = chunk(text, offset)
    message.try_key.dag_id, message.try_key.task_id = "lost", "t0"
    return message
