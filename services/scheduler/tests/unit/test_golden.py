"""Logs that earlier releases wrote are read as they were meant: from snapshots, and from all events alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from spinner_eventlog import topics
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_scheduler.adapters.machine import Policy
from spinner_scheduler.domain import times
from spinner_scheduler.domain.evolve import evolve_record
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.simulation.processes import CLUSTER, TIERS

from services.scheduler.tests.golden.golden import FOLDER, meaning, partitions, read

FILES = sorted(FOLDER.glob("*.json.zst"))
POLICY = Policy(CLUSTER, TIERS, Limits(max_active_tasks=4, default_pool_slots=6, keep_finished_runs=50))


@pytest.mark.parametrize("path", FILES, ids=[path.name.partition(".")[0] for path in FILES])
def test_a_release_is_read_as_it_was_meant(path: Path) -> None:
    golden = read(path)
    runs = 0
    for tier, partition in partitions():
        wanted = golden.meanings[f"{tier}_{partition}"]
        restored = golden.machine(tier, partition, POLICY)
        restored.restore()
        assert meaning(restored.state) == wanted
        folded = golden.machine(tier, partition, POLICY)
        for record in golden.log.read_all(topics.events_topic(CLUSTER, tier), partition):
            evolve_record(folded.state, record.decode(WorkflowEvents))
        assert meaning(folded.state) == wanted
        runs += sum(len(dag["runs"]) for dag in wanted["dags"].values())
        # What was live goes on: timers that are due a day later ring.
        restored.handle([], times.to_datetime(golden.now + 86_400 * times.SECOND))
    assert runs > 5


def test_the_kept_logs_hold_live_runs_and_nearly_every_kind_of_event() -> None:
    kinds: set[str] = set()
    live = 0
    for path in FILES:
        golden = read(path)
        live += sum(len(dag["live"]) for found in golden.meanings.values() for dag in found["dags"].values())
        for tier, partition in partitions():
            for record in golden.log.read_all(topics.events_topic(CLUSTER, tier), partition):
                kinds |= {event.WhichOneof("kind") or "" for event in record.decode(WorkflowEvents).events}
    assert {
        "dag_updated", "dag_removed", "command_accepted", "command_rejected", "run_created", "run_state_changed",
        "run_version_changed", "task_state_changed", "task_expanded", "task_ended", "task_cleared", "pool_event",
        "task_skip_decided", "backfill_created", "backfill_advanced", "backfill_state_changed",
    } <= kinds  # fmt: skip
    assert live > 3
