"""`spinner tasks similar` against a stand-in for the REST API."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from spinner_cli import __main__ as command_line

CAUSE = {"title": "The disk is full", "category": "no_space", "fingerprint": "full:1"}
OTHER = {"title": "A key is missing", "category": "key_error", "fingerprint": "key:1"}
VAGUE = {"title": "Unknown", "category": "unknown", "fingerprint": ""}
FAILURES = [
    {
        "dag_id": dag_id,
        "run_id": f"run{n}",
        "task_id": "load",
        "map_index": n - 1,
        "try_number": 1,
        "category": "no_space",
        "title": "The disk is full",
        "owner": "platform",
        "stage": "TaskExecStage",
        "time": "2026-11-27T08:00:00Z",
    }
    for n, dag_id in enumerate(("etl", "billing"))
]
Asked = list[tuple[str, dict[str, str]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The questions; a task whose tries failed by a missing key and a full disk, then failures a page each."""
    seen: Asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, dict(request.url.params)))
        if request.url.path != "/api/v1/failures":
            diagnoses = [VAGUE] if request.url.path.endswith("/vague/-1") else [None, OTHER, CAUSE, None]
            tries = [{"try_number": n, "diagnosis": one} for n, one in enumerate(diagnoses, 1)]
            return httpx.Response(200, json={"tries": tries})
        place = int(request.url.params.get("cursor", 0))
        following = str(place + 1) if place + 1 < len(FAILURES) else None
        return httpx.Response(200, json={"items": [FAILURES[place]], "total": 2, "next_cursor": following})

    real = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **o: real(**(o | {"transport": httpx.MockTransport(handler)})))
    monkeypatch.setenv("SPINNER_URL", "http://stand-in")
    return seen


def spinner(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr("sys.argv", ["spinner", "tasks", "similar", "etl", "run0", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return ended.value.code or 0


def test_failures_of_the_latest_diagnosed_cause_are_listed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spinner(monkeypatch, "load") == 0
    out = capsys.readouterr().out
    assert "The disk is full (no_space)" in out
    assert [name for name in ("etl", "billing", "platform") if name not in out] == []
    assert asked[0][0] == "/api/v1/dags/etl/runs/run0/tasks/load/-1"
    assert [query["fingerprint"] for path, query in asked if path == "/api/v1/failures"] == ["full:1", "full:1"]
    assert spinner(monkeypatch, "load", "--json") == 0
    assert json.loads(capsys.readouterr().out) == FAILURES


def test_a_try_and_the_same_dag_may_be_chosen(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spinner(monkeypatch, "load", "--try", "2", "--same-dag", "--map-index", "3", "-n", "1") == 0
    assert asked[0][0].endswith("/tasks/load/3")
    assert asked[1:] == [("/api/v1/failures", {"fingerprint": "key:1", "dag_id": "etl", "limit": "1"})]


@pytest.mark.parametrize("arguments", [("load", "--try", "1"), ("vague",)])
def test_without_a_cause_it_says_so(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert spinner(monkeypatch, *arguments) == 1
    assert "fix:" in capsys.readouterr().err
    assert [path for path, _ in asked if path == "/api/v1/failures"] == []
