"""The log becomes rows, each record once, on real Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from spinner_webgateway.adapters import database, schema
from spinner_webgateway.adapters.projector import Projector, topics_of

EVENTS = "workflow_events-spinner_tier_1"


def open_engine(tmp_path: Path, name: str = "views.db") -> sa.Engine:
    engine = database.open_database(f"sqlite:///{tmp_path / name}")
    database.migrate(engine)
    return engine


def projector(log: Any, engine: sa.Engine) -> Projector:
    return Projector(log, engine, topics_of(["spinner_tier_1"]))


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    found = {}
    with engine.connect() as connection:
        for name, table in schema.VIEWS.items():
            rows = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
            found[name] = [dict(row) for row in rows]
    return found


def test_a_run_becomes_rows(log: Any, script: Any, tmp_path: Path, put: Any, put_records: Any) -> None:
    engine = open_engine(tmp_path)
    put_records(log, ("workflow_definitions", "etl@v1", script.definition("etl")))
    put(log, script.dag("etl"), *script.whole_run("etl", "r1"))
    projector(log, engine).catch_up()
    rows = contents(engine)
    assert [(row["dag_id"], row["last_run_state"]) for row in rows["dags"]] == [("etl", "success")]
    assert rows["runs"][0]["counts"] == {"queued": 0, "running": 0, "success": 3}
    assert [row["state"] for row in rows["tasks"]] == ["success"] * 3
    assert len(rows["run_events"]) == 12
