"""`spinner explain` against a stand-in for the REST API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from spinner_cli import __main__ as command_line


def party(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    empty = {"dag_id": "", "run_id": "", "task_id": "", "map_index": -1, "try_number": 0, "state": "", "since": None}
    return {"kind": kind, "name": name, **empty, **fields}


REASON = {
    "code": "POOL_FULL",
    "message": "7 of 7 slots of pool warehouse are taken",
    "since": "2026-11-27T08:00:00Z",
    "until": None,
    "holders": [party("task", f"t{n}", dag_id="other", run_id="r", state="running") for n in range(7)],
    "holder_count": 7,
    "fix": "Wait until a holder ends, or give it more: spinner pools set warehouse SLOTS",
    "waiting": [],
    "waiting_count": 0,
    "note": False,
}


@pytest.fixture
def explain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str, int]]:
    """Runs `spinner explain`; returns the path it asked, what it printed and its exit code."""

    real = httpx.Client

    def run(answer: httpx.Response, *arguments: str) -> tuple[str, str, int]:
        asked: list[str] = []

        def handler(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.raw_path.decode())
            return answer

        def client(**options: Any) -> httpx.Client:
            return real(**options, transport=httpx.MockTransport(handler))

        monkeypatch.setattr(httpx, "Client", client)
        monkeypatch.setenv("SPINNER_URL", "http://stand-in")
        monkeypatch.setattr("sys.argv", ["spinner", "explain", *arguments])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        printed = capsys.readouterr()
        return asked[-1], printed.out + printed.err, int(ended.value.code or 0)

    return run


def explanation(*reasons: dict[str, Any], run_id: str = "", task_id: str = "", state: str = "active") -> httpx.Response:
    subject = {"dag_id": "etl", "run_id": run_id, "task_id": task_id, "map_index": None}
    body = {"subject": subject, "state": state, "reasons": list(reasons), "time": "2026-11-27T08:00:00Z"}
    return httpx.Response(200, json={**body, "partition": "spinner_tier_1_0"})


def test_each_subject_has_its_path(explain: Callable[..., tuple[str, str, int]]) -> None:
    nothing = explanation()
    assert explain(nothing, "etl")[0] == "/api/v1/dags/etl/explain"
    assert explain(nothing, "etl", "manual+1")[0] == "/api/v1/dags/etl/runs/manual%2B1/explain"
    assert explain(nothing, "etl", "r", "load")[0] == "/api/v1/dags/etl/runs/r/tasks/load/-1/explain"
    assert explain(nothing, "etl", "r", "load", "--map-index", "3")[0].endswith("/tasks/load/3/explain")


def test_reasons_say_since_when_who_and_how_to_fix(explain: Callable[..., tuple[str, str, int]]) -> None:
    _, said, code = explain(explanation(REASON, run_id="r", task_id="load", state="scheduled"), "etl", "r", "load")
    lines = said.splitlines()
    assert code == 0
    assert lines[0] == "etl/r/load is scheduled"
    assert "POOL_FULL  7 of 7 slots of pool warehouse are taken" in lines
    assert "  held by  task t0 of other/r (running)" in lines
    assert any(line.endswith("and 2 more") for line in lines)
    assert any(line.startswith("  since    2026-11-27") for line in lines)
    assert lines[-1] == "  fix      Wait until a holder ends, or give it more: spinner pools set warehouse SLOTS"


def test_what_has_ended_waits_for_nothing(explain: Callable[..., tuple[str, str, int]]) -> None:
    assert "It waits for nothing." in explain(explanation(run_id="r", state="success"), "etl", "r")[1]


def test_json_is_the_answer_as_it_is(explain: Callable[..., tuple[str, str, int]]) -> None:
    _, said, _ = explain(explanation(REASON), "etl", "--json")
    assert json.loads(said)["reasons"] == [REASON]


def test_no_owner_is_an_error_with_a_fix(explain: Callable[..., tuple[str, str, int]]) -> None:
    problem = {"code": "PARTITION_WITHOUT_OWNER", "message": "It has no owner right now.", "fix": "Start a scheduler."}
    _, said, code = explain(httpx.Response(503, json=problem), "etl")
    assert code == 1 and "It has no owner right now." in said and "fix: Start a scheduler." in said
