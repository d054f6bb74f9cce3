"""The log becomes rows, each record once, on real Kafka: in SQLite, in MariaDB, through kills and rebuilds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from spinner_proto.portal.v1 import portal_pb2
from spinner_webgateway.__main__ import rebuild
from spinner_webgateway.adapters import database, schema
from spinner_webgateway.adapters.projector import Projector, topics_of
from spinner_webgateway.settings import Settings

RUNS = 150


def projector(log: Any, engine: sa.Engine) -> Projector:
    return Projector(log, engine, topics_of(["spinner_tier_1"]))


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    found = {}
    with engine.connect() as connection:
        for name, table in schema.VIEWS.items():
            rows = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
            found[name] = [dict(row) for row in rows]
    return found


@pytest.fixture(scope="module")
def written(log: Any, put: Any, put_records: Any, script: Any) -> None:
    """Many runs, and records of every other topic with changes and tombstones."""
    put_records(
        log,
        ("workflow_definitions", "etl@v1", script.definition("etl")),
        ("workflow_definitions", "old@v1", script.definition("old")),
        ("workflow_definitions", "old@v1", None),
        ("pools", "gpu", portal_pb2.Pool(name="gpu", slots=1)),
        ("pools", "gpu", portal_pb2.Pool(name="gpu", slots=2)),
        ("variables", "gone", portal_pb2.Variable(name="gone", value="1")),
        ("variables", "gone", None),
        ("connections", "db", portal_pb2.Connection(connection_id="db", host="ünïcode")),
        ("audit_events", "user:a", portal_pb2.AuditEvent(event_id="e1", action="dag.pause", details_json='{"a":1}')),
        ("portal_events", "favourite/a/etl", portal_pb2.PortalEvent(subject="favourite/a/etl", value_json=b"true")),
    )
    put(log, script.dag("etl"), *(record for n in range(RUNS) for record in script.whole_run("etl", f"r{n:03d}")))


@pytest.fixture(scope="module")
def expected(written: None, log: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    engine = database.open_database(f"sqlite:///{folder}/expected.db")
    database.migrate(engine)
    projector(log, engine).catch_up()
    return contents(engine)


@pytest.fixture
def environment(kafka_bootstrap: str, prefix: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "SPINNER_KAFKA": kafka_bootstrap,
        "SPINNER_TOPIC_PREFIX": prefix,
        "SPINNER_TIERS": "1",
        "SPINNER_DATABASE": f"sqlite:///{tmp_path}/views.db",
        "SPINNER_OBJECT_STORE": f"file://{tmp_path}/objects",
        "SPINNER_HTTP_ADDRESS": "127.0.0.1:0",
        "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
        "SPINNER_STATUS_FILE": str(tmp_path / "status.json"),
    }


def test_every_record_counts_once(expected: dict[str, list[dict[str, Any]]]) -> None:
    assert len(expected["runs"]) == RUNS
    assert all(run["counts"] == {"queued": 0, "running": 0, "success": 3} for run in expected["runs"])
    assert len(expected["tasks"]) == len(expected["tries"]) == 3 * RUNS
    assert len(expected["run_events"]) == 12 * RUNS
    assert [row["dag_id"] for row in expected["definitions"]] == ["etl"]
    assert [(row["name"], row["slots"]) for row in expected["pools"]] == [("gpu", 2)]
    assert expected["variables"] == []
    assert expected["connections"][0]["host"] == "ünïcode"


def test_a_rebuild_gives_the_same_rows(
    expected: dict[str, list[dict[str, Any]]], kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/views.db"
    settings = Settings(kafka=kafka_bootstrap, topic_prefix=prefix, tiers="1", database=url)  # type: ignore[arg-type]
    engine = database.open_database(url)
    database.migrate(engine)
    with engine.begin() as connection:
        database.upsert(connection, schema.VIEWS["pools"], [{**expected["pools"][0], "name": "stale"}])
    assert rebuild(settings) > 12 * RUNS
    assert contents(database.open_database(url)) == expected


def test_records_delivered_again_change_nothing(
    expected: dict[str, list[dict[str, Any]]], log: Any, tmp_path: Path
) -> None:
    engine = database.open_database(f"sqlite:///{tmp_path}/views.db")
    database.migrate(engine)
    first = projector(log, engine)
    first.catch_up()
    records = list(log.read_all("workflow_events-spinner_tier_1", 0))
    first.project(records[:500])
    assert contents(engine) == expected


def test_kills_in_mid_projection_lose_and_double_nothing(
    expected: dict[str, list[dict[str, Any]]], environment: dict[str, str], tmp_path: Path, eventually: Any
) -> None:
    code = (
        "import os, signal, sys\n"
        "from spinner_webgateway.adapters import projector as p\n"
        "p.BATCH_RECORDS = 150\n"
        "left = [int(sys.argv[1])]\n"
        "store = p._store\n"
        "def dying(connection, rows):\n"
        "    store(connection, rows)\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "p._store = dying\n"
        "from spinner_webgateway import __main__ as m\n"
        "from spinner_eventlog.kafka import KafkaLog\n"
        "from spinner_webgateway.app import open_views, topics_for\n"
        "s = m.Settings()\n"
        "log = KafkaLog(s.kafka, 'x', prefix=s.topic_prefix)\n"
        "p.Projector(log, open_views(s), topics_for(s)).catch_up()\n"
        "os._exit(0)\n"
    )
    ends = []
    for batches in (3, 2, 5, 1000):
        done = subprocess.run([sys.executable, "-c", code, str(batches)], env=environment, timeout=120)
        ends.append(done.returncode)
    assert ends == [-signal.SIGKILL] * 3 + [0]
    assert contents(database.open_database(environment["SPINNER_DATABASE"])) == expected


def test_unreadable_records_are_put_aside_and_stop_nothing(
    log: Any, kafka_bootstrap: str, prefix: str, tmp_path: Path, put: Any, script: Any, written: None
) -> None:
    from confluent_kafka import Producer

    raw = Producer({"bootstrap.servers": kafka_bootstrap})
    topic = f"{prefix}workflow_events-spinner_tier_1"
    raw.produce(topic, key=b"x", value=b"\xff\xff\xff", partition=1)
    raw.produce(topic, key=b"x", value=b"\x28\xb5\x2f\xfd broken", headers={"content-encoding": "zstd"}, partition=1)
    raw.produce(topic, key=b"\xff\xfe", value=None, partition=1)
    raw.produce(f"{prefix}failure_diagnoses", key=b"no try key", value=None, partition=0)
    raw.produce(topic, key=b"x", value=script.created("late", "r1").SerializeToString(), partition=1)
    raw.flush()
    engine = database.open_database(f"sqlite:///{tmp_path}/views.db")
    database.migrate(engine)
    projector(log, engine).catch_up()
    assert [row["run_id"] for row in contents(engine)["runs"] if row["dag_id"] == "late"] == ["r1"]
    letters = list(log.read_all("dead_letters", 0))
    sources = sorted(letter.key.rsplit("/", 1)[0] for letter in letters)
    assert sources == ["failure_diagnoses/0"] + ["workflow_events-spinner_tier_1/1"] * 3
    assert all(letter.headers["reason"] for letter in letters)


def test_mariadb_has_the_same_rows_and_answers(
    log: Any, folder: Path, tmp_path: Path, mariadb_url: str, written: None
) -> None:
    engines = [database.open_database(url) for url in (f"sqlite:///{tmp_path}/views.db", mariadb_url)]
    for engine in engines:
        database.migrate(engine)
        database.migrate(engine)
        projector(log, engine).catch_up()
    lite, server = (contents(engine) for engine in engines)
    assert server == lite
    assert [_answers(engine) for engine in engines[:1]] == [_answers(engine) for engine in engines[1:]]
    database.drop_views(engines[1])
    assert sa.inspect(engines[1]).get_table_names() == []


def _answers(engine: sa.Engine) -> list[Any]:
    from spinner_webgateway.adapters.search import DatabaseSearch
    from spinner_webgateway.adapters.views import dags, lists, runs, tasks
    from spinner_webgateway.adapters.views.definitions import Definitions

    known = Definitions(engine)
    with engine.connect() as connection:
        run = runs.find(connection, "etl", "r001")
        graph = known.get("etl", "v1")
        task = tasks.find(connection, run, graph, "t1", -1)
        wanted = dags.DagFilter(query="ETL", tag="daily", paused=False)
        return [
            dags.listing(connection, wanted, "-last_run", 10, None),
            dags.details(connection, "etl", known),
            dags.grid(connection, "etl", known, 25, "r100"),
            runs.listing(connection, "etl", ["success"], 7, None),
            runs.events(connection, "etl", "r001", 5, None),
            tasks.listing(connection, run, graph, ["success"], None, 10, None),
            tasks.upstream_states(connection, run, graph, "t1") if graph else None,
            tasks.try_rows(connection, task),
            lists.parse_error_page(connection, "x", 10, None),
            lists.audit_page(connection, "dag", "user:a", 10, None),
            lists.pool_list(connection, known),
            DatabaseSearch(engine).find("r01"),
        ]
