"""Calendar, durations and landing times of a thousand runs are what counting by hand gives, on SQLite and MariaDB."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import TypeAdapter
from spinner_proto.common.v1 import common_pb2
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from spinner_servicekit.grpc_client import rejected
from spinner_webgateway.adapters import database, schema
from spinner_webgateway.adapters.views import timings
from spinner_webgateway.api import models, models_timings
from spinner_webgateway.domain import facts, new_rows, words

BERLIN = ZoneInfo("Europe/Berlin")
RUNS = 1000
TASKS = 6
MAPPED = 3
SECOND = 1_000_000


class History:
    """A DAG that ran every eight hours for most of a year; the last run is under way and one was marked."""

    def __init__(self, script: Any) -> None:
        rng = random.Random(7)
        definition = script.definition("long", tasks=TASKS)
        definition.schedule.cron.timezone = "Europe/Berlin"
        self.tables: dict[str, list[dict[str, Any]]] = {"definitions": [facts.definition(definition)]}
        self.tables["dags"] = [{**new_rows.new_dag("long"), "version": "v1", "cluster": "spinner", "tier": 1}]
        self.runs: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        # Over midnight in Berlin and over the change of its clock.
        first = words.micros_of(datetime(2026, 1, 1, 6, 50, tzinfo=UTC))
        for n in range(RUNS):
            due = first + n * 8 * 3600 * SECOND
            run = new_rows.new_run("long", f"run{n:04d}", due)
            start = due + rng.randrange(1, 90 * SECOND)
            state = "failed" if rng.random() < 0.2 else "success"
            end: int | None = start + rng.randrange(SECOND, 7200 * SECOND)
            if n == RUNS - 1:
                state, end = "running", None
            run |= {
                "run_type": "manual" if n % 10 == 0 else "scheduled",
                "version": "v1",
                "state": state,
                "marked": n == 17,
                "run_after": due,
                "queued_time": due + 5 * SECOND,
                "start_time": due + 5 * SECOND + start - due,
                "end_time": end and end + 5 * SECOND,
                "counts": {"success": TASKS + MAPPED - 1},
            }
            self.runs.append(run)
            self.tasks += self._tasks(rng, run)
        self.tables |= {"runs": self.runs, "tasks": self.tasks}

    @staticmethod
    def _tasks(rng: random.Random, run: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for t in range(TASKS):
            for map_index in range(MAPPED) if t == 2 else (-1,):
                task = new_rows.new_task("long", run["run_id"], f"t{t}", map_index)
                start = run["start_time"] + rng.randrange(60 * SECOND)
                failed = run["state"] == "failed" and t == TASKS - 1
                state = "failed" if failed else "success"
                end = start + rng.randrange(SECOND, (t + 1) * 600 * SECOND)
                yield {**task, "state": state, "try_number": 1, "start_time": start, "end_time": end}

    def fill(self, engine: Any) -> None:
        with engine.begin() as connection:
            for name, rows in self.tables.items():
                database.upsert(connection, schema.VIEWS[name], rows)


@pytest.fixture(scope="module")
def history(script: Any) -> History:
    return History(script)


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def long_gateway(request: pytest.FixtureRequest, start_gateway: Any, history: History) -> Iterator[Any]:
    on_server = request.param == "mariadb"
    gateway = start_gateway(**({"database": request.getfixturevalue("mariadb_url")} if on_server else {}))
    engine = gateway.parts.gateway.engine
    history.fill(engine)
    yield gateway
    gateway.stop()
    if on_server:
        database.drop_views(database.open_database(gateway.settings.database))


@pytest.fixture(scope="module")
def client(long_gateway: Any) -> Iterator[httpx.Client]:
    with long_gateway.client() as client:
        yield client


@pytest.fixture(scope="module")
def stub(long_gateway: Any) -> Iterator[Any]:
    with grpc.insecure_channel(long_gateway.grpc_address, [("grpc.enable_http_proxy", 0)]) as channel:
        yield gateway_pb2_grpc.GatewayServiceStub(channel)


def get(client: httpx.Client, path: str, shape: Any) -> Any:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return TypeAdapter(shape).validate_json(response.content)


def in_berlin(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1e6, BERLIN)


def test_the_calendar_counts_by_the_days_of_the_dags_zone(client: httpx.Client, history: History) -> None:
    found = get(client, "/dags/long/calendar?from_date=2026-01-01&to_date=2026-12-31", models_timings.Calendar)
    assert found.timezone == "Europe/Berlin"
    counted: dict[Any, Counter[str]] = {}
    for run in history.runs:
        counted.setdefault(in_berlin(run["order_time"]).date(), Counter())[run["state"]] += 1
    assert {day.date: Counter(day.counts) for day in found.days} == counted
    assert (found.first_run_date, found.last_run_date) == (min(counted), max(counted))
    lengths = {day.date: day.end_time - day.start_time for day in found.days}
    assert lengths[datetime(2026, 3, 29).date()] == timedelta(hours=23)
    assert lengths[datetime(2026, 10, 25).date()] == timedelta(hours=25)
    # Opening a day shows the runs that were counted.
    for day in (found.days[0], found.days[80], found.days[-1]):
        query = f"due_from={day.start_time:%Y-%m-%dT%H:%M:%SZ}&due_to={day.end_time:%Y-%m-%dT%H:%M:%SZ}"
        for path in (f"/dags/long/runs?{query}", f"/runs?dag_id=long&{query}"):
            page = get(client, path, models.Page[models.RunSummary])
            assert Counter(run.state for run in page.items) == counted[day.date]
            assert page.total == sum(counted[day.date].values())


def test_a_part_of_the_calendar(client: httpx.Client) -> None:
    found = get(client, "/dags/long/calendar?from_date=2026-02-03&to_date=2026-02-04", models_timings.Calendar)
    assert [(day.date.day, sum(day.counts.values())) for day in found.days] == [(3, 3), (4, 3)]
    assert get(client, "/dags/long/calendar?to_date=1999-12-31", models_timings.Calendar).days == []


def check(found: models_timings.Statistics, micros: list[int]) -> None:
    assert found.count == len(micros)
    assert found.median_seconds == pytest.approx(statistics.median(micros) / 1e6)
    assert found.p95_seconds == pytest.approx(sorted(micros)[-(-len(micros) * 95 // 100) - 1] / 1e6)
    assert found.max_seconds == pytest.approx(max(micros) / 1e6)


@pytest.mark.parametrize("count", [1000, 100, 2, 1])
def test_durations_of_runs(client: httpx.Client, history: History, count: int) -> None:
    found = get(client, f"/dags/long/durations?runs={count}", models_timings.RunDurations)
    chosen = history.runs[-count:]
    assert [run.run_id for run in found.runs] == [run["run_id"] for run in chosen]
    assert found.runs[-1].duration_seconds is None
    for shown, run in zip(found.runs[:-1], chosen, strict=False):
        assert shown.queued_seconds == pytest.approx((run["start_time"] - run["queued_time"]) / 1e6)
        assert shown.duration_seconds == pytest.approx((run["end_time"] - run["start_time"]) / 1e6)
        assert shown.landing_seconds == pytest.approx((run["end_time"] - run["order_time"]) / 1e6)
    good = [run for run in chosen if run["state"] == "success" and not run["marked"]]
    if not good:
        assert found.duration == models_timings.Statistics(**timings.NO_STATISTICS)
        return
    check(found.queued, [run["start_time"] - run["queued_time"] for run in good])
    check(found.duration, [run["end_time"] - run["start_time"] for run in good])
    check(found.landing, [run["end_time"] - run["order_time"] for run in good])


def test_durations_go_on_to_older_runs_and_are_narrowed(client: httpx.Client, history: History) -> None:
    newest = get(client, "/dags/long/durations?runs=600", models_timings.RunDurations)
    older = get(client, f"/dags/long/durations?runs=600&cursor={newest.next_cursor}", models_timings.RunDurations)
    assert [run.run_id for run in older.runs + newest.runs] == [run["run_id"] for run in history.runs]
    assert older.next_cursor is None
    found = get(client, "/dags/long/durations?runs=20&run_type=manual&state=failed", models_timings.RunDurations)
    wanted = [run for run in history.runs if run["run_type"] == "manual" and run["state"] == "failed"][-20:]
    assert [run.run_id for run in found.runs] == [run["run_id"] for run in wanted]
    assert found.duration.count == 0


@pytest.mark.parametrize("count", [1000, 31])
def test_durations_of_tasks(client: httpx.Client, history: History, count: int) -> None:
    found = get(client, f"/dags/long/task-durations?runs={count}", models_timings.TaskDurations)
    assert (found.run_count, found.task_count) == (count, TASKS)
    medians = [task.duration.median_seconds or 0 for task in found.tasks]
    assert medians == sorted(medians, reverse=True)
    due = {run["run_id"]: run["order_time"] for run in history.runs[-count:]}
    for task in found.tasks:
        assert task.points == []
        by_run: dict[str, list[dict[str, Any]]] = {}
        for row in history.tasks:
            if row["task_id"] == task.task_id and row["run_id"] in due:
                by_run.setdefault(row["run_id"], []).append(row)
        good = [rows for rows in by_run.values() if rows[0]["state"] == "success"]
        assert (task.run_count, task.failed_count) == (count, count - len(good))
        check(task.duration, [max(row["end_time"] - row["start_time"] for row in rows) for rows in good])
        check(task.landing, [max(row["end_time"] for row in rows) - due[rows[0]["run_id"]] for rows in good])


def test_chosen_tasks_have_a_point_for_each_run(client: httpx.Client, history: History) -> None:
    path = "/dags/long/task-durations?runs=1000&task_id=t5&task_id=t2&task_id=never"
    found = get(client, path, models_timings.TaskDurations)
    assert [task.task_id for task in found.tasks] == ["t5", "t2", "never"]
    last, mapped, never = found.tasks
    assert [point.run_id for point in last.points] == [run["run_id"] for run in history.runs]
    assert {point.state for point in last.points} == {"success", "failed"}
    assert {point.instance_count for point in mapped.points} == {MAPPED}
    rows = [row for row in history.tasks if row["task_id"] == "t2" and row["run_id"] == "run0500"]
    point = mapped.points[500]
    assert point.duration_seconds == pytest.approx(max(row["end_time"] - row["start_time"] for row in rows) / 1e6)
    assert (never.run_count, never.points, never.duration.median_seconds) == (0, [], None)


def test_many_task_instances_are_of_fewer_runs(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "MAX_TASK_INSTANCES", 85)
    found = get(client, "/dags/long/task-durations?runs=100", models_timings.TaskDurations)
    assert found.run_count == 85 // (TASKS + MAPPED - 1)
    assert {task.run_count for task in found.tasks} == {found.run_count}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/dags/none/calendar", 404, "DAG_NOT_FOUND"),
        ("/dags/none/durations", 404, "DAG_NOT_FOUND"),
        ("/dags/none/task-durations", 404, "DAG_NOT_FOUND"),
        ("/dags/long/calendar?from_date=2026-02-02&to_date=2026-02-01", 400, "DATES_INVALID"),
        ("/dags/long/calendar?from_date=2024-01-01&to_date=2026-02-01", 400, "DATES_INVALID"),
        ("/dags/long/calendar?to_date=0001-01-01", 400, "DATES_INVALID"),
        ("/dags/long/durations?run_type=odd", 400, "RUN_TYPE_UNKNOWN"),
        ("/dags/long/durations?state=odd", 400, "STATE_UNKNOWN"),
        ("/dags/long/durations?cursor=odd", 400, "CURSOR_INVALID"),
        ("/dags/long/durations?runs=1001", 400, "REQUEST_INVALID"),
    ],
)
def test_what_cannot_be_answered_is_explained(client: httpx.Client, path: str, status: int, code: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["fix"]


def moment(time: Timestamp) -> datetime:
    return time.ToDatetime(UTC)


def numbers(found: gateway_pb2.DurationStatistics) -> models_timings.Statistics:
    seconds = ("median_seconds", "p95_seconds", "max_seconds")
    unset = {name: getattr(found, name) if found.HasField(name) else None for name in seconds}  # type: ignore[arg-type]
    return models_timings.Statistics(count=found.count, **unset)


def test_grpc_says_the_same_of_the_calendar(client: httpx.Client, stub: Any) -> None:
    for days in ({"from_date": "2026-02-27", "to_date": "2026-12-31"}, {"to_date": "1999-12-31"}, {}):
        rest = get(client, f"/dags/long/calendar?{urlencode(days)}", models_timings.Calendar)
        found = stub.GetCalendar(gateway_pb2.GetCalendarRequest(dag_id="long", **days), timeout=60)
        period = (rest.timezone, rest.from_date, rest.to_date, rest.first_run_date, rest.last_run_date)
        said = (found.from_date, found.to_date, found.first_run_date, found.last_run_date)
        assert (found.timezone, *map(date.fromisoformat, said)) == period
        counts = [
            {state: n for state in ("queued", "running", "success", "failed") if (n := getattr(day, f"{state}_count"))}
            for day in found.days
        ]
        assert counts == [day.counts for day in rest.days]
        assert [(d.date, moment(d.start_time), moment(d.end_time)) for d in found.days] == [
            (str(day.date), day.start_time, day.end_time) for day in rest.days
        ]


def test_grpc_says_the_same_of_runs_page_by_page(client: httpx.Client, stub: Any) -> None:
    request = gateway_pb2.ListRunDurationsRequest(dag_id="long", page_size=600)
    cursor, pages = "", 0
    while cursor or not pages:
        rest = get(client, f"/dags/long/durations?runs=600&cursor={cursor}", models_timings.RunDurations)
        found = stub.ListRunDurations(request, timeout=60)
        for shown, run in zip(found.runs, rest.runs, strict=True):
            assert (shown.key.dag_id, shown.key.run_id, shown.marked) == ("long", run.run_id, run.marked)
            assert words.run_state(shown.state) == run.state
            assert words.run_type(shown.run_type) == run.run_type
            for name in ("logical_date", "due_time", "queued_time", "start_time", "end_time"):
                assert (moment(getattr(shown, name)) if shown.HasField(name) else None) == getattr(run, name)
            for name in ("queued_seconds", "duration_seconds", "landing_seconds"):
                assert (getattr(shown, name) if shown.HasField(name) else None) == getattr(run, name)
        for name in ("queued", "duration", "landing"):
            assert numbers(getattr(found, name)) == getattr(rest, name)
        assert found.next_page_token == (rest.next_cursor or "")
        request.page_token = cursor = found.next_page_token
        pages += 1
    assert pages == 2
    narrow = stub.ListRunDurations(
        gateway_pb2.ListRunDurationsRequest(
            dag_id="long",
            run_types=[common_pb2.RUN_TYPE_MANUAL],
            states=[common_pb2.RUN_STATE_FAILED],
            page_size=20,
        ),
        timeout=60,
    )
    same = get(client, "/dags/long/durations?runs=20&run_type=manual&state=failed", models_timings.RunDurations)
    assert [run.key.run_id for run in narrow.runs] == [run.run_id for run in same.runs]
    assert numbers(narrow.duration) == models_timings.Statistics(**timings.NO_STATISTICS)


@pytest.mark.parametrize("names", [[], ["t5", "t2", "never"]])
def test_grpc_says_the_same_of_tasks(client: httpx.Client, stub: Any, names: list[str]) -> None:
    query = urlencode({"runs": 300, "task_id": names}, doseq=True)
    rest = get(client, f"/dags/long/task-durations?{query}", models_timings.TaskDurations)
    request = gateway_pb2.ListTaskDurationsRequest(dag_id="long", task_ids=names, page_size=300)
    found = stub.ListTaskDurations(request, timeout=60)
    assert (found.run_count, found.task_count) == (rest.run_count, rest.task_count)
    for shown, task in zip(found.tasks, rest.tasks, strict=True):
        assert (shown.task_id, shown.run_count, shown.failed_count) == (
            task.task_id,
            task.run_count,
            task.failed_count,
        )
        assert (numbers(shown.duration), numbers(shown.landing)) == (task.duration, task.landing)
        for point, wanted in zip(shown.points, task.points, strict=True):
            assert words.task_state(point.state) == wanted.state
            for name in ("run_id", "duration_seconds", "landing_seconds", "instance_count"):
                assert getattr(point, name) == getattr(wanted, name)


@pytest.mark.parametrize(
    ("method", "request_of", "status", "code"),
    [
        ("GetCalendar", {"dag_id": "none"}, "NOT_FOUND", "DAG_NOT_FOUND"),
        ("ListRunDurations", {"dag_id": "none"}, "NOT_FOUND", "DAG_NOT_FOUND"),
        ("ListTaskDurations", {"dag_id": "none"}, "NOT_FOUND", "DAG_NOT_FOUND"),
        ("GetCalendar", {"from_date": "2026-02-02", "to_date": "2026-02-01"}, "INVALID_ARGUMENT", "DATES_INVALID"),
        ("GetCalendar", {"to_date": "yesterday"}, "INVALID_ARGUMENT", "DATES_INVALID"),
        ("ListRunDurations", {"run_types": [77]}, "INVALID_ARGUMENT", "RUN_TYPE_UNKNOWN"),
        ("ListRunDurations", {"states": [77]}, "INVALID_ARGUMENT", "STATE_UNKNOWN"),
        ("ListRunDurations", {"page_token": "odd"}, "INVALID_ARGUMENT", "CURSOR_INVALID"),
        ("ListTaskDurations", {"task_ids": ["t"] * 21}, "INVALID_ARGUMENT", "REQUEST_INVALID"),
    ],
)
def test_grpc_refuses_as_rest_does(stub: Any, method: str, request_of: dict[str, Any], status: str, code: str) -> None:
    request = getattr(gateway_pb2, f"{method}Request")(**{"dag_id": "long", **request_of})
    with pytest.raises(grpc.RpcError) as failure:
        getattr(stub, method)(request, timeout=60)
    refusal = rejected(failure.value)
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (status, code)
    assert refusal.fix
