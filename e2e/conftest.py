"""One stack for all end-to-end tests, in a home and on ports of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.harness import ROOT, Stack, wait_for


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A running stack with the sample DAGs and the DAGs of these tests."""
    stack = Stack({"e2e": ROOT / "e2e" / "dags"})
    try:
        stack.up()
        wait_for("the DAGs of the tests", lambda: {"e2e_chain", "e2e_flaky", "e2e_failing"} <= stack.dag_ids(), 60)
        yield stack
        stack.down()
        left = [process.cmdline() for process in stack.processes()]
        assert left == [], "`down` leaves nothing running"
    finally:
        stack.close()
