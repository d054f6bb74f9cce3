"""A busy gateway gathers changes, but no answer that somebody waits for. On real Kafka."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from spinner_proto.events.v1 import events_pb2
from spinner_webgateway.adapters import database, schema
from spinner_webgateway.adapters.hub import ChangeHub
from spinner_webgateway.adapters.projector import Projector, topics_of

EVENTS = "workflow_events-spinner_tier_1"
LONG = 600.0
BOUND = 60.0


class Views:
    """A projector that would gather for ten minutes."""

    def __init__(self, log: Any, folder: Path) -> None:
        self.hub = ChangeHub()
        self.engine = database.open_database(f"sqlite:///{folder}/views.db")
        database.migrate(self.engine)
        self.projector = Projector(log, self.engine, topics_of(["spinner_tier_1"]), self.hub)
        self.projector.catch_up()

    def count(self, table: sa.Table) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())

    def has_read(self) -> bool:
        """Whether the step in work has taken anything from the log that is not yet stored."""
        reader = self.projector._reader
        assert reader is not None
        with self.engine.connect() as connection:
            stored = dict(
                connection.execute(
                    sa.select(schema.positions.c.partition, schema.positions.c.next_offset).where(
                        schema.positions.c.topic == EVENTS
                    )
                ).all()
            )
        return reader.position(EVENTS, 0) > stored.get(0, 0)

    def in_thread(self) -> threading.Thread:
        """One batch, when something comes."""

        def project() -> None:
            deadline = time.monotonic() + BOUND
            while not self.projector.step(1.0, LONG) and time.monotonic() < deadline:
                pass

        thread = threading.Thread(target=project, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def views(log: Any, tmp_path: Path) -> Iterator[Views]:
    made = Views(log, tmp_path)
    yield made
    made.projector.close()


def accepted(script: Any, request_id: str) -> events_pb2.WorkflowEvents:
    answer = events_pb2.CommandAccepted(request_id=request_id, run_id="r1")
    return script.record("etl", "", events_pb2.WorkflowEvent(command_accepted=answer))  # type: ignore[no-any-return]


def test_an_answer_that_somebody_waits_for_is_stored_at_once(views: Views, log: Any, put: Any, script: Any) -> None:
    with views.hub.awaiting("wanted-1"):
        stepping = views.in_thread()
        put(log, accepted(script, "wanted-1"))
        stepping.join(BOUND)
        assert not stepping.is_alive()
    assert views.count(schema.commands) == 1


def test_who_begins_to_wait_ends_the_gathering_with_the_answer(views: Views, log: Any, put: Any, script: Any) -> None:
    before = views.count(schema.commands)
    stepping = views.in_thread()
    put(log, accepted(script, "of-another-gateway"))
    deadline = time.monotonic() + BOUND
    while not views.has_read() and time.monotonic() < deadline:
        stepping.join(0.01)
    assert stepping.is_alive()
    with views.hub.awaiting("wanted-2"):
        put(log, accepted(script, "wanted-2"))
        stepping.join(BOUND)
        assert not stepping.is_alive()
    assert views.count(schema.commands) == before + 2


def test_what_nobody_waits_for_is_gathered(views: Views, log: Any, put: Any, script: Any) -> None:
    put(log, accepted(script, "a"), accepted(script, "b"))
    began = time.monotonic()
    while views.projector.step(BOUND, 0.3) < 2:
        pass
    assert time.monotonic() - began >= 0.3
