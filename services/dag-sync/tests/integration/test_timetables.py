"""Custom timetables with years of past runs (B1): dag-sync and scheduler on a real Kafka, either of them killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from spinner_eventlog.interface import Outgoing
from spinner_proto.definitions.v1.definitions_pb2 import TimetableRequest
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_proto.explain.v1.explain_pb2 import Subject
from spinner_proto.inbox.v1.inbox_pb2 import Command, InboxMessage
from spinner_proto.scheduler.v1.scheduler_pb2 import ExplainRequest
from spinner_proto.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub

EVENTS = "workflow_events-spinner_tier_1"
REQUESTS = "timetable_requests"
START = datetime(2024, 1, 1, tzinfo=UTC)
PAST = 10_500

TIMETABLE = """
from datetime import UTC, datetime, timedelta
from spinner import DAG, EmptyOperator
from spinner.timetables import DagRunInfo, Timetable


class Hours(Timetable):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        start = restriction.earliest if last_automated_data_interval is None else last_automated_data_interval.end
        {extra}
        return DagRunInfo.interval(start, start + timedelta(hours=1))


with DAG("{name}", schedule=Hours(), start_date=datetime(2024, 1, 1, tzinfo=UTC), tier=1, catchup=True,
         end_date=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours={past} - 1), max_active_runs=2,
         access_control={{"team": {{"can_dag_read"}}}}, owner="team") as dag:
    EmptyOperator(task_id="one")
"""


class Scheduler:
    """A real scheduler beside dag-sync, and what it wrote."""

    def __init__(self, sync) -> None:
        self.sync, self.process = sync, None
        self._status = sync.folder / "scheduler.json"
        topics = [(name, p) for name in (EVENTS, REQUESTS) for p in range(sync.log.partition_count(name))]
        self._reader = sync.log.reader(topics)
        self.runs: Counter[tuple[str, datetime]] = Counter()
        self.intervals: dict[tuple[str, datetime], timedelta] = {}
        self.requests: list[TimetableRequest] = []

    def start(self) -> None:
        self._status.unlink(missing_ok=True)
        settings = {
            "SPINNER_KAFKA": self.sync.kafka,
            "SPINNER_TOPIC_PREFIX": self.sync.prefix,
            "SPINNER_TIERS": "1",
            "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
            "SPINNER_STATUS_FILE": str(self._status),
            "SPINNER_SNAPSHOT_SECONDS": "0.5",
        }
        output = (self.sync.folder / "scheduler.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spinner_scheduler"], env={**os.environ, **settings}, stdout=output, stderr=output
        )

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)

    def read(self) -> int:
        """Takes in what was written since; returns the number of runs so far."""
        while True:
            found = self._reader.poll(2_000, 0.02)
            for record in found:
                if record.topic == REQUESTS:
                    if record.value is not None:
                        self.requests.append(record.decode(TimetableRequest))
                    continue
                decoded = record.decode(WorkflowEvents)
                for event in decoded.events:
                    if event.HasField("run_created"):
                        logical = event.run_created.logical_date.ToDatetime(UTC)
                        self.runs[decoded.dag_id, logical] += 1
                        created = event.run_created
                        covers = created.data_interval_end.ToDatetime() - created.data_interval_start.ToDatetime()
                        self.intervals[decoded.dag_id, logical] = covers
            if not found:
                return len(self.runs)

    def reasons(self, dag_id: str) -> set[str]:
        said = json.loads(self._status.read_text()) if self._status.exists() else {}
        if said.get("state") != "ready":
            return set()
        with grpc.insecure_channel(said["grpc"]) as channel:
            request = ExplainRequest(subject=Subject(dag_id=dag_id))
            try:
                found = SchedulerServiceStub(channel).Explain(request, timeout=10).explanation
            except grpc.RpcError:
                return set()
        return {one.code for one in found.reasons}

    def of(self, dag_id: str) -> list[datetime]:
        return [logical for name, logical in self.runs if name == dag_id]


@pytest.fixture
def scheduler(sync):
    made = Scheduler(sync)
    made.start()
    yield made
    made.kill()


def hours(past: int) -> list[datetime]:
    return [START + timedelta(hours=n) for n in range(past)]


def source(name: str, past: int, extra: str = "") -> str:
    return TIMETABLE.format(name=name, past=past, extra=extra)


def test_every_past_run_is_made_once_whoever_dies(sync, scheduler, tmp_path, tools):
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "hours.py").write_text(source("hours", PAST))
    sync.bundles({"name": "main", "kind": "folder", "path": str(folder), "interval_seconds": 600})
    sync.start()
    tools.until(lambda: scheduler.read() >= 1_500, "the first part has runs", 60)
    # dag-sync dies while the scheduler wants more.
    sync.kill()
    tools.until(lambda: "TIMETABLE_PART_PENDING" in scheduler.reasons("hours"), "the scheduler waits", 60)
    stopped_at = scheduler.read()
    assert 1_500 < stopped_at < PAST and stopped_at % 500 == 0
    sync.start()
    tools.until(lambda: scheduler.read() > stopped_at + 1_000, "it goes on", 60)
    # Then the scheduler.
    scheduler.kill()
    scheduler.start()
    tools.until(lambda: scheduler.read() >= PAST, "all runs are made", 90)
    assert scheduler.of("hours") == hours(PAST)
    assert set(scheduler.runs.values()) == {1}
    assert 5 <= len(scheduler.requests) <= 12
    tools.until(sync.definitions, "the definition is read")
    assert len({definition.version for definition in sync.definitions()}) == 1


def test_a_timetable_that_fails_on_the_way_is_a_parse_error_and_holds_up_nobody_else(sync, scheduler, tmp_path, tools):
    folder = tmp_path / "dags"
    folder.mkdir()
    limit = "datetime(2024, 6, 1, tzinfo=UTC)"
    (folder / "raises.py").write_text(source("raises", PAST, f'if start > {limit}: raise ValueError("no calendar")'))
    (folder / "loops.py").write_text(source("loops", PAST, f"while start > {limit}: pass"))
    (folder / "fine.py").write_text(source("fine", 4_500))
    sync.bundles({"name": "main", "kind": "folder", "path": str(folder), "interval_seconds": 600, "timeout_seconds": 3})
    sync.start()

    def errors():
        return {error.relative_path: error for error in sync.errors().values()}

    tools.until(lambda: set(errors()) == {"raises.py", "loops.py"}, "both are told", 60)
    assert (errors()["raises.py"].error_type, errors()["raises.py"].message) == ("ValueError", "no calendar")
    assert errors()["raises.py"].dag_ids == ["raises"] and errors()["raises.py"].line
    assert errors()["loops.py"].error_type == "TimedOut" and errors()["loops.py"].dag_ids == ["loops"]
    tools.until(lambda: scheduler.read() and len(scheduler.of("fine")) == 4_500, "the other has its runs", 60)
    assert scheduler.of("fine") == hours(4_500)
    # What was known of the broken ones was used, and their DAGs are still there.
    assert set(sync.current()) == {"raises", "loops", "fine"}
    tools.until(lambda: "TIMETABLE_PART_PENDING" in scheduler.reasons("raises"), "the wait is explained", 60)
    assert scheduler.read() and scheduler.of("raises") == hours(len(scheduler.of("raises")))
    # Mended, it goes on where it was.
    (folder / "raises.py").write_text(source("raises", 4_500))
    sync.sync("main")
    tools.until(lambda: scheduler.read() and len(scheduler.of("raises")) == 4_500, "it goes on", 60)
    assert scheduler.of("raises") == hours(4_500) and set(scheduler.runs.values()) == {1}


def test_a_run_by_hand_and_a_backfill_are_completed_by_the_timetable(sync, scheduler, tmp_path, tools):
    """B4, B5: the commands wait for dag-sync, which is started last."""
    folder = tmp_path / "dags"
    folder.mkdir()
    infer = """

    def infer_manual_data_interval(self, *, run_after):
        return DataInterval(run_after - timedelta(days=7), run_after)
"""
    text = source("weekly", 3).replace("timedelta(hours=1))\n", f"timedelta(hours=1))\n{infer}", 1)
    (folder / "weekly.py").write_text(text.replace("DagRunInfo, Timetable", "DagRunInfo, DataInterval, Timetable"))
    sync.bundles({"name": "main", "kind": "folder", "path": str(folder), "interval_seconds": 600})
    sync.start()
    tools.until(lambda: scheduler.read() == 3, "its scheduled runs are made", 60)
    sync.kill()
    (place,) = [definition.placement for definition in tools.until(sync.definitions, "the definition")]
    commands = [Command(request_id="run", dag_id="weekly"), Command(request_id="fill", dag_id="weekly")]
    commands[0].trigger_run.run_id = "by_hand"
    commands[0].trigger_run.logical_date.FromDatetime(START + timedelta(days=400))
    backfill = commands[1].create_backfill
    backfill.backfill_id, backfill.max_active_runs = "fill", 1
    backfill.from_date.FromDatetime(START - timedelta(hours=2))
    backfill.to_date.FromDatetime(START - timedelta(hours=1))
    producer = sync.log.producer("by-hand")
    for command in commands:
        message = InboxMessage(command=command)
        producer.send(Outgoing("scheduler_inbox-spinner_tier_1", "weekly", message, place.partition))
    producer.flush()
    producer.close()
    tools.until(lambda: "TIMETABLE_ANSWER_PENDING" in scheduler.reasons("weekly"), "they are held", 60)
    scheduler.kill()
    scheduler.start()
    sync.start()
    wanted = {START + timedelta(days=400), START - timedelta(hours=2), START - timedelta(hours=1)}
    tools.until(lambda: scheduler.read() and wanted <= set(scheduler.of("weekly")), "they are carried out", 60)
    assert scheduler.intervals["weekly", START + timedelta(days=400)] == timedelta(days=7)
    assert set(scheduler.runs.values()) == {1}
