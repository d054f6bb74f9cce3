"""`spinner dags calendar` and `spinner dags durations` against a stand-in for the REST API."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from spinner_cli import __main__ as command_line

STATISTICS = {"count": 2, "median_seconds": 90.0, "p95_seconds": 120.0, "max_seconds": 120.0}
NONE = {"count": 0, "median_seconds": None, "p95_seconds": None, "max_seconds": None}
CALENDAR = {
    "dag_id": "etl",
    "timezone": "Europe/Berlin",
    "from_date": "2026-11-01",
    "to_date": "2026-11-30",
    "days": [{"date": "2026-11-27", "start_time": "", "end_time": "", "counts": {"success": 2, "failed": 1}}],
}
RUNS = {
    "dag_id": "etl",
    "runs": [
        {
            "run_id": "scheduled__1",
            "state": "running",
            "due_time": "2026-11-27T08:00:00Z",
            "queued_seconds": 2.0,
            "duration_seconds": None,
            "landing_seconds": None,
        }
    ],
    "queued": STATISTICS,
    "duration": STATISTICS,
    "landing": STATISTICS,
}
POINT = {
    "run_id": "scheduled__1",
    "state": "failed",
    "duration_seconds": 65.0,
    "landing_seconds": 70.0,
    "instance_count": 1,
}
TASKS = {
    "dag_id": "etl",
    "run_count": 25,
    "task_count": 700,
    "tasks": [
        {
            "task_id": "load",
            "run_count": 25,
            "failed_count": 3,
            "duration": STATISTICS,
            "landing": STATISTICS,
            "points": [POINT],
        },
        {"task_id": "wait", "run_count": 0, "failed_count": 0, "duration": NONE, "landing": NONE, "points": []},
    ],
}


class Called:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.asked: list[tuple[str, httpx.QueryParams]] = []

    def __call__(self, answer: dict[str, Any], *arguments: str) -> str:
        def handler(request: httpx.Request) -> httpx.Response:
            self.asked.append((request.url.path, request.url.params))
            return httpx.Response(200, json=answer)

        real = httpx.Client
        with self.monkeypatch.context() as patch:
            patch.setattr(httpx, "Client", lambda **o: real(**(o | {"transport": httpx.MockTransport(handler)})))
            patch.setenv("SPINNER_URL", "http://stand-in")
            patch.setattr("sys.argv", ["spinner", "dags", *arguments])
            with pytest.raises(SystemExit) as ended:
                command_line.main()
        printed = self.capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out


@pytest.fixture
def spinner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    return Called(monkeypatch, capsys)


def test_the_calendar_lists_days_in_the_dags_zone(spinner: Called) -> None:
    out = spinner(CALENDAR, "calendar", "etl", "--from", "2026-11-01")
    assert spinner.asked == [("/api/v1/dags/etl/calendar", httpx.QueryParams({"from_date": "2026-11-01"}))]
    assert "2026-11-27" in out
    assert "2 success, 1 failed" in out
    assert "Europe/Berlin" in out
    assert "No run was due from 2026-11-01" in spinner({**CALENDAR, "days": []}, "calendar", "etl")
    assert json.loads(spinner(CALENDAR, "calendar", "etl", "--json")) == CALENDAR


def test_durations_of_runs(spinner: Called) -> None:
    out = spinner(RUNS, "durations", "etl", "--type", "scheduled", "--state", "failed", "-n", "7")
    wanted = httpx.QueryParams({"runs": "7", "run_type": "scheduled", "state": "failed"})
    assert spinner.asked == [("/api/v1/dags/etl/durations", wanted)]
    assert "scheduled__1" in out
    assert "median 1 min 30 s, 95 % within 2 min 00 s" in out
    assert json.loads(spinner(RUNS, "durations", "etl", "--json")) == RUNS


def test_durations_of_tasks_and_of_one_run_by_run(spinner: Called) -> None:
    out = spinner(TASKS, "durations", "etl", "--tasks")
    assert "The slowest 2 of 700 tasks." in out
    assert "load" in out
    out = spinner(TASKS, "durations", "etl", "--task", "load", "--task", "wait")
    assert spinner.asked[-1][0] == "/api/v1/dags/etl/task-durations"
    assert spinner.asked[-1][1].get_list("task_id") == ["load", "wait"]
    assert "1 min 05 s" in out
    assert "wait has ended in none of these runs." in out
