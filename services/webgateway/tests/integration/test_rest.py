"""REST over real Kafka and SQLite, as the UI sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pydantic import TypeAdapter
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.diagnoses.v1 import diagnoses_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from spinner_webgateway.api import models, models_tasks
from spinner_webgateway.api.routes_failures import Failure

BASE = "/dags/etl/runs/r1"


def get(client: httpx.Client, path: str, shape: Any) -> Any:
    """Returns the answer as the documented model."""
    response = client.get(path)
    assert response.status_code == 200, response.text
    return TypeAdapter(shape).validate_json(response.content)


@pytest.fixture(scope="module")
def filled(gateway: Any, put: Any, put_records: Any, script: Any) -> None:
    """DAG etl: run r0 succeeded; r1 failed in t1, which has a diagnosis; t2 waits."""
    diagnosis = diagnoses_pb2.FailureDiagnosis(
        try_key=common_pb2.TryKey(dag_id="etl", run_id="r1", task_id="t1", map_index=-1, try_number=1),
        stage=common_pb2.STAGE_TASK_EXEC,
        category="key_error",
        title="A key is missing",
        owner="user",
        confidence=0.9,
        evidence=[diagnoses_pb2.EvidenceLine(line=2, text="KeyError: 'x'")],
        fingerprint="key_error:1",
    )
    error = definitions_pb2.ParseError(
        bundle="main", relative_path="dags/etl.py", error_type="SyntaxError", message="invalid syntax", dag_ids=["etl"]
    )
    put_records(
        gateway.log,
        ("workflow_definitions", "etl@v1", script.definition("etl")),
        ("workflow_definitions", "etl@v0", script.definition("etl", version="v0", tasks=1)),
        ("failure_diagnoses", "etl/r1/t1/-1/1", diagnosis),
        ("workflow_parse_errors", "main/dags/etl.py", error),
        *((("parse_error_history", "main/dags/etl.py", ended(error, number))) for number in (1, 2, 2)),
    )
    stage = common_pb2.StageResult(stage=common_pb2.STAGE_TASK_EXEC, outcome=common_pb2.STAGE_OUTCOME_FAILED)
    put(
        gateway.log,
        script.dag("etl"),
        script.dag("other", paused=True),
        *script.whole_run("etl", "r0"),
        script.created("etl", "r1"),
        script.run_state("etl", "r1", "running"),
        script.task("etl", "r1", "t0", "running"),
        script.ended("etl", "r1", "t0", "success"),
        script.task("etl", "r1", "t1", "queued"),
        script.task("etl", "r1", "t1", "running"),
        script.ended("etl", "r1", "t1", "failed", message="'x'", stages=[stage], rendered=_rendered(), usage=USED),
        script.run_state("etl", "r1", "failed"),
    )
    gateway.caught_up()


USED = common_pb2.Usage(peak_memory_bytes=5_000_000, cpu_seconds=1.5, read_bytes=4096, written_bytes=12)


def _rendered() -> common_pb2.Blob:
    return common_pb2.Blob(inline=b'{"sql":"select 1"}')


def test_dags_with_their_latest_runs(filled: None, client: httpx.Client) -> None:
    page = get(client, "/dags", models.Page[models.DagSummary])
    assert [dag.dag_id for dag in page.items] == ["etl", "other"]
    etl = page.items[0]
    assert (etl.owner, etl.tags, etl.schedule_text) == ("data", ["etl", "daily"], "At 02:30 (UTC)")
    assert [(run.run_id, run.state) for run in etl.recent_runs] == [("r0", "success"), ("r1", "failed")]
    assert (etl.partition, etl.has_errors) == ("spinner_tier_1_0", True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("query=ET", ["etl"]),
        ("query=daily", ["etl"]),
        ("query=%25", []),
        ("owner=data", ["etl"]),
        ("tag=etl", ["etl"]),
        ("tag=et", []),
        ("paused=true", ["other"]),
        ("state=failed", ["etl"]),
        ("tier=2", []),
        ("sort=-dag_id", ["other", "etl"]),
        ("sort=last_run", ["etl", "other"]),
        ("limit=1", ["etl"]),
    ],
)
def test_lists_are_narrowed(filled: None, client: httpx.Client, query: str, found: list[str]) -> None:
    page = get(client, f"/dags?{query}", models.Page[models.DagSummary])
    assert [dag.dag_id for dag in page.items] == found


def test_pages_follow_each_other(filled: None, client: httpx.Client) -> None:
    for path in ("/dags", "/runs", f"{BASE}/tasks", f"{BASE}/events"):
        whole = client.get(path).json()
        items: list[Any] = []
        cursor = ""
        while True:
            page = client.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
            assert page["total"] == whole["total"]
            items += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                break
        assert items == whole["items"], path


def test_a_dag_and_its_versions(filled: None, client: httpx.Client) -> None:
    dag = get(client, "/dags/etl", models.DagDetails)
    assert [version.version for version in dag.versions] == ["v0", "v1"]
    layout = get(client, "/dags/etl/layout", models.Layout)
    assert [(task.task_id, task.upstream_ids) for task in layout.tasks] == [
        ("t0", []),
        ("t1", ["t0"]),
        ("t2", ["t1"]),
    ]
    assert len(get(client, "/dags/etl/layout?version=v0", models.Layout).tasks) == 1
    assert get(client, "/dags/etl/source", models.SourceCode).text == "with DAG(): ..."


def test_the_grid(filled: None, client: httpx.Client) -> None:
    grid = get(client, "/dags/etl/grid", models.Grid)
    assert [run.run_id for run in grid.runs] == ["r0", "r1"]
    assert {row.task_id: row.states for row in grid.rows} == {
        "t0": ["success", "success"],
        "t1": ["success", "failed"],
        "t2": ["success", "none"],
    }
    assert [run.run_id for run in get(client, "/dags/etl/grid?before=r1", models.Grid).runs] == ["r0"]


def test_a_run_its_tasks_and_a_try(filled: None, client: httpx.Client) -> None:
    run = get(client, BASE, models.Run)
    assert (run.state, run.conf, run.actor) == ("failed", {"full": True}, "user:alice")
    assert run.task_counts == {"success": 1, "failed": 1, "none": 1}
    tasks = get(client, f"{BASE}/tasks", models.Page[models_tasks.TaskInstance])
    assert [(t.task_id, t.state, t.category) for t in tasks.items] == [
        ("t0", "success", ""),
        ("t1", "failed", "key_error"),
        ("t2", "none", ""),
    ]
    assert [
        t.task_id for t in get(client, f"{BASE}/tasks?state=none", models.Page[models_tasks.TaskInstance]).items
    ] == ["t2"]
    task = get(client, f"{BASE}/tasks/t1/-1", models_tasks.TaskInstanceDetails)
    (attempt,) = task.tries
    assert task.upstream_states == {"t0": "success"}
    assert attempt.diagnosis is not None
    assert (attempt.diagnosis.category, attempt.diagnosis.similar_count) == ("key_error", 0)
    assert attempt.rendered == {"sql": "select 1"}
    used = (attempt.peak_memory_bytes, attempt.cpu_seconds, attempt.read_bytes, attempt.written_bytes)
    assert used == (5_000_000, 1.5, 4096, 12)
    assert [(s.name, s.category) for s in attempt.stages] == [("QueueStage", ""), ("TaskExecStage", "key_error")]
    assert get(client, f"{BASE}/tasks/t2/-1", models_tasks.TaskInstanceDetails).tries == []


def test_failures_of_one_cause_are_found_in_all_dags(
    filled: None, gateway: Any, put_records: Any, client: httpx.Client, channel: grpc.Channel
) -> None:
    def diagnosis(dag_id: str, run_id: str, fingerprint: str, day: int) -> diagnoses_pb2.FailureDiagnosis:
        message = diagnoses_pb2.FailureDiagnosis(
            try_key=common_pb2.TryKey(dag_id=dag_id, run_id=run_id, task_id="load", map_index=-1, try_number=2),
            category="no_space",
            title="The disk is full",
            owner="platform",
            fingerprint=fingerprint,
        )
        message.time.FromDatetime(datetime(2026, 11, day, tzinfo=UTC))
        return message

    written = [diagnosis("etl", "a", "full", 3), diagnosis("other", "b", "full", 5), diagnosis("etl", "c", "odd", 4)]
    records = [("failure_diagnoses", f"{one.try_key.dag_id}/{one.try_key.run_id}/load/-1/2", one) for one in written]
    put_records(gateway.log, *records)
    gateway.caught_up()
    page = get(client, "/failures?fingerprint=full", models.Page[Failure])
    assert [(one.dag_id, one.run_id, one.title) for one in page.items] == [
        ("other", "b", "The disk is full"),
        ("etl", "a", "The disk is full"),
    ]
    one = get(client, "/failures?fingerprint=full&dag_id=etl", models.Page[Failure])
    assert ([item.run_id for item in one.items], one.total) == (["a"], 1)
    first = get(client, "/failures?fingerprint=full&limit=1", models.Page[Failure])
    second = get(client, f"/failures?fingerprint=full&limit=1&cursor={first.next_cursor}", models.Page[Failure])
    assert first.items + second.items == page.items
    assert client.get("/failures").status_code == 400

    stub = gateway_pb2_grpc.GatewayServiceStub(channel)
    asked = gateway_pb2.ListFailuresRequest(fingerprint="full", page_size=1)
    newest = stub.ListFailures(asked, timeout=60)
    assert newest.next_page_token == first.next_cursor
    asked.page_token = newest.next_page_token
    oldest = stub.ListFailures(asked, timeout=60)
    assert oldest.next_page_token == ""
    assert [
        Failure(
            **{name: getattr(item.key, name) for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")},
            **{name: getattr(item, name) for name in ("category", "title", "owner", "stage")},
            time=item.time.ToDatetime(UTC),
        )
        for item in [*newest.failures, *oldest.failures]
    ] == page.items
    asked = gateway_pb2.ListFailuresRequest(fingerprint="full", dag_id="etl")
    assert [item.key.run_id for item in stub.ListFailures(asked, timeout=60).failures] == ["a"]
    with pytest.raises(grpc.RpcError) as refused:
        stub.ListFailures(gateway_pb2.ListFailuresRequest(), timeout=60)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_events_are_told_in_order(filled: None, client: httpx.Client) -> None:
    page = get(client, f"{BASE}/events", models.Page[models.EventEntry])
    assert [event.kind for event in page.items][:3] == ["run_created", "run_state_changed", "task_state_changed"]
    assert "t1 try 1 ended: failed: 'x'" in [event.text for event in page.items]


def ended(error: definitions_pb2.ParseError, number: int) -> definitions_pb2.ParseErrorEnded:
    over = definitions_pb2.ParseErrorEnded(error=error)
    over.error.message = f"invalid syntax {number}"
    over.error.detected_time.FromSeconds(1_790_000_000)
    over.error.last_updated_time.FromSeconds(1_790_000_000 + number)
    over.end_time.FromSeconds(1_790_000_100 + number)
    return over


def test_errors_that_are_over_are_kept_once_each(filled: None, client: httpx.Client) -> None:
    over = get(client, "/parse-errors/history?query=syntax", models.Page[models.EndedParseError])
    assert [(error.message, error.end_time.timestamp()) for error in over.items] == [
        ("invalid syntax 2", 1_790_000_102),
        ("invalid syntax 1", 1_790_000_101),
    ]
    assert get(client, "/parse-errors/history?query=absent", models.Page[models.EndedParseError]).total == 0


def test_errors_and_search(filled: None, client: httpx.Client) -> None:
    errors = get(client, "/parse-errors?query=syntax", models.Page[models.ParseError])
    assert [error.relative_path for error in errors.items] == ["dags/etl.py"]
    hits = get(client, "/search?q=etl", list[models.SearchHit])
    assert {(hit.kind, hit.title) for hit in hits} >= {("dag", "etl"), ("error", "dags/etl.py")}
    assert [h.kind for h in get(client, "/search?q=key_err", list[models.SearchHit])] == ["task"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/dags/nope", "DAG_NOT_FOUND"),
        ("/dags/nope/grid", "DAG_NOT_FOUND"),
        ("/dags/etl/layout?version=nope", "VERSION_NOT_FOUND"),
        ("/dags/etl/runs/nope", "RUN_NOT_FOUND"),
        (f"/dags/etl/runs/{'x' * 3000}", "RUN_NOT_FOUND"),
        (f"{BASE}/tasks/nope/-1", "TASK_NOT_FOUND"),
        (f"{BASE}/tasks/t0/7", "TASK_NOT_FOUND"),
        (f"{BASE}/tasks/t0/-1/tries/9/log", "TRY_NOT_FOUND"),
        ("/pools/nope", "POOL_NOT_FOUND"),
        ("/nope", "NOT_FOUND"),
    ],
)
def test_unknown_ids_say_what_to_do(filled: None, client: httpx.Client, path: str, code: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    problem = models.Problem.model_validate_json(response.content)
    assert problem.code == code
    assert problem.fix


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("/dags?limit=0", "REQUEST_INVALID"),
        ("/dags?limit=501", "REQUEST_INVALID"),
        ("/dags?cursor=x", "CURSOR_INVALID"),
        ("/dags?sort=x", "SORT_UNKNOWN"),
        ("/runs?state=failed,broken", "STATE_UNKNOWN"),
        ("/backfills?state=broken", "STATE_UNKNOWN"),
    ],
)
def test_wrong_parameters_are_refused(client: httpx.Client, where: str, code: str) -> None:
    response = client.get(where)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_every_endpoint_asks_who_it_is(start_gateway: Any) -> None:
    gateway = start_gateway(development_user="")
    asked = 0
    with gateway.client() as client:
        for path, methods in client.get("/openapi.json").json()["paths"].items():
            url = path.removeprefix("/api/v1")
            for name, value in {"map_index": "-1", "try_number": "1"}.items():
                url = url.replace("{" + name + "}", value)
            for method in methods:
                response = client.request(method.upper(), url.replace("{", "").replace("}", ""), json={})
                assert (response.status_code, response.json()["code"]) == (401, "SIGN_IN_REQUIRED"), (method, url)
                asked += 1
    assert asked > 35


def test_the_ui_is_served_with_its_routes(folder: Path, start_gateway: Any) -> None:
    (folder / "ui/assets").mkdir(parents=True)
    (folder / "ui/index.html").write_text("<title>Spinner</title>" + "x" * 3000)
    (folder / "ui/assets/app-1a2b.js").write_text("1")
    gateway = start_gateway()
    gateway.caught_up()
    with httpx.Client(base_url=gateway.url) as client:
        deep = client.get("/dags/etl/runs/r1")
        assert "<title>Spinner</title>" in deep.text
        assert (deep.headers["cache-control"], deep.headers["content-encoding"]) == ("no-cache", "gzip")
        assert "immutable" in client.get("/assets/app-1a2b.js").headers["cache-control"]
        assert client.get("/assets/gone.js").status_code == 404
        assert client.get("/..%2f..%2fviews.db").text == deep.text
        assert client.get("/api/v2/dags").json()["code"] == "NOT_FOUND"
        assert client.get("/healthz").json()["views_lag"] == 0
        assert "spinner_views_records_total" in client.get("/metrics").text


def test_a_mapped_task_in_grid_and_list(gateway: Any, put: Any, put_records: Any, script: Any, client: Any) -> None:
    definition = script.definition("m", tasks=2)
    definition.tasks[1].map_length.task = 0
    expanded = events_pb2.WorkflowEvent(task_expanded=events_pb2.TaskExpanded(task_id="t1", length=3))
    put_records(gateway.log, ("workflow_definitions", "m@v1", definition))
    put(
        gateway.log,
        script.dag("m"),
        script.created("m", "r", 2),
        script.ended("m", "r", "t0", "success"),
        script.record("m", "r", expanded),
        script.ended("m", "r", "t1", "success", map_index=0),
        script.ended("m", "r", "t1", "failed", map_index=2),
    )
    gateway.caught_up()
    tasks = get(client, "/dags/m/runs/r/tasks", models.Page[models_tasks.TaskInstance])
    assert [(t.map_index, t.state) for t in tasks.items] == [
        (-1, "success"),
        (0, "success"),
        (1, "none"),
        (2, "failed"),
    ]
    row = get(client, "/dags/m/grid", models.Grid).rows[1]
    assert (row.states, row.mapped_counts) == (["failed"], [{"success": 1, "failed": 1, "none": 1}])
