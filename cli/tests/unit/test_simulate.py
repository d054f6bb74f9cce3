"""`spinner simulate` against a stand-in for the REST API."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import pytest
from spinner_cli import __main__ as command_line
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition

RESULT = {
    "start": "2026-11-27T00:00:00Z",
    "end": "2026-11-28T00:00:00Z",
    "stopped": "",
    "run_count": 1,
    "failed_run_count": 0,
    "task_count": 2,
    "peak_running_tasks": 1,
    "peak_time": "2026-11-27T08:00:00Z",
    "runs": [
        {
            "dag_id": "etl",
            "run_id": "scheduled__1",
            "logical_date": "2026-11-27T07:00:00Z",
            "due_time": "2026-11-27T08:00:00Z",
            "start_time": "2026-11-27T08:01:00Z",
            "end_time": "2026-11-27T08:11:00Z",
            "state": "success",
            "task_count": 2,
        }
    ],
    "limits": [
        {
            "kind": "pool",
            "name": "small",
            "limit": 1,
            "waits": 3,
            "wait_seconds": 90.0,
            "longest_wait_seconds": 60.0,
            "first_time": "2026-11-27T08:00:00Z",
        }
    ],
    "event_count": 9,
    "seconds": 0.1,
}
DAG = """
from datetime import datetime
from spinner import DAG, Tier
from spinner.operators import EmptyOperator

with DAG("etl", schedule="@daily", start_date=datetime(2026, 1, 1), tier=Tier.TIER3, owner="team",
         access_control={"team": {"can_dag_read", "can_dag_edit"}}):
    EmptyOperator(task_id="one")
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[httpx.Request]]:
    seen: list[httpx.Request] = []
    real = httpx.Client

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=RESULT)

    monkeypatch.setattr(httpx, "Client", lambda **options: real(**options, transport=httpx.MockTransport(handler)))
    monkeypatch.setenv("SPINNER_URL", "http://stand-in")
    monkeypatch.setattr("sys.argv", ["spinner", "simulate", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return int(ended.value.code or 0), seen


def body(request: httpx.Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.content)
    return found


def test_a_live_dag_and_a_backfill(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--days", "2", "--duration", "30", "--pool", "small=1", "--backfill", "2026-11-01..2026-11-02"]
    code, (request,) = run(monkeypatch, "etl", *options)
    assert code == 0 and request.url.path == "/api/v1/dags/etl/simulate"
    assert body(request) == {
        "max_runs": 30,
        "pools": {"small": 1},
        "days": 2.0,
        "duration_seconds": 30.0,
        "backfill": {"from_date": "2026-11-01", "to_date": "2026-11-02", "max_active_runs": 1},
    }
    out = capsys.readouterr().out
    assert "scheduled__1" in out and "10 min 00 s" in out and "pool" in out and "1 runs (0 failed)" in out


def test_made_up_dags_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, (request,) = run(monkeypatch, "--dags", "100000", "--json")
    assert code == 0 and request.url.path == "/api/v1/simulate" and body(request)["synthetic_dags"] == 100_000
    assert json.loads(capsys.readouterr().out) == RESULT


def test_a_file_that_nobody_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "etl.py"
    file.write_text(DAG)
    code, requests = run(monkeypatch, str(file))
    assert code == 0
    (text,) = body(requests[0])["definitions"]
    assert DagDefinition.FromString(b64decode(text)).dag_id == "etl"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "what to simulate"),
        (["etl", "--dags", "3"], "what to simulate"),
        (["etl", "--pool", "small"], "not a pool"),
        (["etl", "--backfill", "2026-11-01"], "not a range"),
    ],
)
def test_wrong_usage_says_what_to_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, requests = run(monkeypatch, *arguments)
    assert code == 1 and not requests
    assert said in capsys.readouterr().err
