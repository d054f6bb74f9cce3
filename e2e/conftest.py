"""One stack for all end-to-end tests, in a home and on ports of its own, and a collector of its traces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.collector import Collector
from e2e.harness import ROOT, Stack, wait_for


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Takes the spans of all services, as an OpenTelemetry collector does."""
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="session")
def stack(collector: Collector) -> Iterator[Stack]:
    """A running stack with the sample DAGs and the DAGs of these tests."""
    stack = Stack({"e2e": ROOT / "e2e" / "dags"}, settings={"SPINNER_OTLP_ENDPOINT": collector.address})
    try:
        stack.up()
        wait_for("the DAGs of the tests", lambda: {"e2e_chain", "e2e_flaky", "e2e_failing"} <= stack.dag_ids(), 60)
        yield stack
        stack.down()
        left = [process.cmdline() for process in stack.processes()]
        assert left == [], "`down` leaves nothing running"
    finally:
        stack.close()
