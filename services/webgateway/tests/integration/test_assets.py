"""Assets and deadlines in the views, by REST and by hand (B7, B8); parameters are checked (B4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from spinner_objectstore import ObjectStore
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from spinner_proto.inbox.v1 import inbox_pb2

NAME = "s3://bucket/table"
LONG_AGO = Timestamp(seconds=1_767_225_600)  # 2026-01-01


def update(script: Any, sequence: int, **facts: Any) -> inbox_pb2.AssetUpdated:
    producer = common_pb2.TaskKey(dag_id="maker", run_id=f"m{sequence}", task_id="t0", map_index=-1)
    return inbox_pb2.AssetUpdated(asset=NAME, sequence=sequence, time=script.tick(), producer=producer, **facts)


def owner_says(script: Any, event: events_pb2.AssetEvent) -> events_pb2.WorkflowEvents:
    return script.record("", "", events_pb2.WorkflowEvent(asset_event=event))


@pytest.fixture(scope="module")
def lineage(gateway: Any, put: Any, put_records: Any, script: Any) -> None:
    maker = script.definition("maker")
    maker.tasks[0].outlets.append(NAME)
    maker.tasks[1].outlet_aliases.append("files")
    maker.assets.add(name=NAME, uri=NAME, group="lake", extra_json='{"team": "data"}')
    user = script.definition("user")
    user.tasks[0].inlets.append(NAME)
    user.schedule.assets.expression.all.items.add(asset=NAME)
    user.schedule.assets.expression.all.items.add(alias="files")
    user.params_json = json.dumps(
        {
            "day": {"value": None, "required": True, "description": "Which day", "schema": {"type": "integer"}},
            "size": {"value": "s", "required": False, "description": None, "schema": {"enum": ["s", "m"]}},
        }
    )
    put_records(gateway.log, ("workflow_definitions", "maker@v1", maker), ("workflow_definitions", "user@v1", user))
    first, second = update(script, 1, extra_json='{"rows": 3}'), update(script, 2, aliases=["files"])
    made = script.created("user", "asset__1")
    made.events[0].run_created.run_type = common_pb2.RUN_TYPE_ASSET
    made.events[0].run_created.asset_events.append(second)
    put(
        gateway.log,
        script.dag("maker"),
        script.dag("user"),
        owner_says(script, events_pb2.AssetEvent(name=NAME, updated=first)),
        owner_says(script, events_pb2.AssetEvent(name=NAME, updated=second)),
        owner_says(script, events_pb2.AssetEvent(name="files", alias=True, updated=second)),
        made,
        script.ended("user", "asset__1", "t0", "failed"),
    )
    gateway.caught_up()


@pytest.fixture
def stub(gateway: Any) -> Iterator[Any]:
    with grpc.insecure_channel(gateway.grpc_address, [("grpc.enable_http_proxy", 0)]) as channel:
        yield gateway_pb2_grpc.GatewayServiceStub(channel)  # type: ignore[no-untyped-call]


def test_lineage_says_who_makes_reads_and_waits(client: httpx.Client, lineage: None) -> None:
    found = client.get("/assets").json()["items"]
    assert [(asset["name"], asset["alias"]) for asset in found] == [("files", True), (NAME, False)]
    table = found[1]
    assert table["producers"] == [{"dag_id": "maker", "task_id": "t0"}]
    assert table["readers"] == [{"dag_id": "user", "task_id": "t0"}]
    assert table["consumers"] == [{"dag_id": "user", "task_id": None}]
    assert (table["group"], table["extra"], table["update_count"]) == ("lake", {"team": "data"}, 2)
    assert client.get("/assets", params={"query": "BUCKET"}).json()["total"] == 1


@pytest.mark.parametrize("written", [NAME, "s3%3A%2F%2Fbucket%2Ftable"])
def test_events_of_an_asset_lead_to_runs(client: httpx.Client, lineage: None, written: str) -> None:
    assert client.get(f"/assets/{written}").json()["name"] == NAME
    found = client.get(f"/assets/{written}/events").json()
    assert [event["sequence"] for event in found["items"]] == [2, 1]
    latest, first = found["items"]
    assert latest["runs"] == [{"dag_id": "user", "run_id": "asset__1"}]
    assert latest["aliases"] == ["files"]
    assert first["extra"] == {"rows": 3}
    assert first["producer"] == {"dag_id": "maker", "run_id": "m1", "task_id": "t0", "map_index": -1}
    page = client.get(f"/assets/{written}/events", params={"limit": 1}).json()
    rest = client.get(f"/assets/{written}/events", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [event["sequence"] for event in rest["items"]] == [1]


def test_an_update_by_hand_goes_to_the_owner_once(client: httpx.Client, lineage: None, scheduler: Any) -> None:
    scheduler.commands.clear()
    body = {"extra": {"by": "hand"}, "request_id": "update-by-hand"}
    for _ in range(2):
        response = client.post(f"/assets/{NAME}/events", json=body)
        assert (response.status_code, response.json()["request_id"]) == (200, "update-by-hand")
    (command,) = scheduler.commands
    assert command.create_asset_event.asset == NAME
    assert json.loads(command.create_asset_event.extra_json) == {"by": "hand"}


def test_unknown_assets_and_long_extras_are_refused(client: httpx.Client, lineage: None) -> None:
    missing = client.post("/assets/nowhere/events", json={})
    assert (missing.status_code, missing.json()["code"]) == (404, "ASSET_NOT_FOUND")
    long = client.post(f"/assets/{NAME}/events", json={"extra": {"text": "x" * 20_000}})
    assert (long.status_code, long.json()["code"]) == (400, "EXTRA_TOO_LARGE")


def test_what_is_not_fresh_is_stale(
    client: httpx.Client, gateway: Any, put: Any, put_records: Any, script: Any, stub: Any
) -> None:
    keeper = script.definition("keeper")
    for name, seconds in (("hour", 3600), ("decade", 315_000_000), ("never", 60)):
        keeper.tasks[0].outlets.append(f"fresh/{name}")
        keeper.assets.add(name=f"fresh/{name}").freshness.FromSeconds(seconds)
    # Another DAG wants it fresher.
    eager = script.definition("eager")
    eager.tasks[0].inlets.append("fresh/decade")
    eager.assets.add(name="fresh/decade").freshness.FromSeconds(300_000_000)
    put_records(gateway.log, *(("workflow_definitions", f"{d.dag_id}@v1", d) for d in (keeper, eager)))
    put(
        gateway.log,
        script.dag("keeper"),
        script.dag("eager"),
        *(
            owner_says(
                script,
                events_pb2.AssetEvent(
                    name=f"fresh/{name}",
                    updated=inbox_pb2.AssetUpdated(asset=f"fresh/{name}", sequence=1, time=LONG_AGO),
                ),
            )
            for name in ("hour", "decade")
        ),
    )
    gateway.caught_up()
    found = {a["name"]: a for a in client.get("/assets", params={"query": "fresh/"}).json()["items"]}
    assert {name: asset["stale"] for name, asset in found.items()} == {
        "fresh/hour": True, "fresh/decade": False, "fresh/never": True,
    }  # fmt: skip
    assert found["fresh/hour"]["fresh_until"] == "2026-01-01T01:00:00Z"
    assert found["fresh/decade"]["freshness_seconds"] == 300_000_000
    assert found["fresh/never"]["fresh_until"] is None
    stale = client.get("/assets", params={"query": "fresh/", "stale": True}).json()["items"]
    assert [asset["name"] for asset in stale] == ["fresh/hour", "fresh/never"]
    listed = stub.ListAssets(gateway_pb2.ListAssetsRequest(query="fresh/", stale=True), timeout=20).assets
    assert [(asset.name, asset.freshness.seconds, asset.stale) for asset in listed] == [
        ("fresh/hour", 3600, True), ("fresh/never", 60, True),
    ]  # fmt: skip


# -- partitions, watchers, callbacks -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(gateway: Any, put: Any, put_records: Any, script: Any) -> None:
    definition = script.definition("parts")
    definition.tasks[0].outlets.append("parts")
    definition.assets.add(name="parts", uri="parts")
    put_records(gateway.log, ("workflow_definitions", "parts@v1", definition))
    made = script.created("parts", "asset__red")
    made.events[0].run_created.partition_key = "red"
    updates = [
        inbox_pb2.AssetUpdated(asset="parts", sequence=number, time=script.tick(), partition_key=key, watcher=watcher)
        for number, key, watcher in ((1, "red", ""), (2, "blue", ""), (3, "red", "w"), (4, "", "w"))
    ]
    made.events[0].run_created.asset_events.append(updates[2])
    watcher = definitions_pb2.WatcherDefinition(name="w", trigger_class="mine.Trigger")
    changes = [
        events_pb2.WatcherChanged(name="w", state=events_pb2.WATCHER_STATE_STARTING, definition=watcher, generation=1),
        events_pb2.WatcherChanged(name="w", state=events_pb2.WATCHER_STATE_FAILING, error="no broker"),
        events_pb2.WatcherChanged(name="w", state=events_pb2.WATCHER_STATE_RUNNING, executor="here:1"),
    ]
    stale = inbox_pb2.AssetStale(dag_id="parts", stale_time=LONG_AGO)
    called = events_pb2.CallbackChanged(
        callback="stale", number=1, map_index=-1, state=common_pb2.TASK_STATE_FAILED, message="oh no"
    )
    key = hashlib.sha256(b"parts").hexdigest()[:8]
    put(
        gateway.log,
        script.dag("parts"),
        *(owner_says(script, events_pb2.AssetEvent(name="parts", watcher_changed=change)) for change in changes),
        *(owner_says(script, events_pb2.AssetEvent(name="parts", updated=one)) for one in updates),
        owner_says(script, events_pb2.AssetEvent(name="parts", stale=stale)),
        script.record(
            "parts",
            f"stale__2026-01-01T00:00:00+00:00__{key}",
            events_pb2.WorkflowEvent(callback_changed=called),
        ),
        made,
    )
    gateway.caught_up()


def test_partitions_come_with_their_latest_update(client: httpx.Client, parts: None, stub: Any) -> None:
    found = client.get("/assets/parts/partitions").json()
    assert [(one["partition_key"], one["update"]["sequence"]) for one in found["items"]] == [("red", 3), ("blue", 2)]
    assert found["items"][0]["update"]["runs"] == [{"dag_id": "parts", "run_id": "asset__red"}]
    first = client.get("/assets/parts/partitions", params={"limit": 1}).json()
    rest = client.get("/assets/parts/partitions", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [one["partition_key"] for one in rest["items"]] == ["blue"]
    listed = stub.ListAssetPartitions(gateway_pb2.ListAssetPartitionsRequest(name="parts"), timeout=20).partitions
    assert [(one.partition_key, one.update.watcher) for one in listed] == [("red", "w"), ("blue", "")]


def test_a_run_says_its_partition(client: httpx.Client, parts: None, stub: Any) -> None:
    assert client.get("/dags/parts/runs/asset__red").json()["partition_key"] == "red"
    key = common_pb2.RunKey(dag_id="parts", run_id="asset__red")
    assert stub.GetRun(gateway_pb2.GetRunRequest(key=key), timeout=20).run.partition_key == "red"


def test_watchers_and_the_latest_callback_are_told(client: httpx.Client, parts: None, stub: Any) -> None:
    found = client.get("/assets/parts").json()
    (watcher,) = found["watchers"]
    assert watcher.pop("last_event_time") and watcher.pop("last_error_time")
    assert watcher == {
        "name": "w",
        "trigger_class": "mine.Trigger",
        "state": "running",
        "event_count": 2,
        "last_error": "no broker",
        "executor": "here:1",
    }
    assert found["stale_callback"] == {
        "dag_id": "parts",
        "stale_time": "2026-01-01T00:00:00Z",
        "state": "failed",
        "message": "oh no",
    }
    told = stub.GetAsset(gateway_pb2.GetAssetRequest(name="parts"), timeout=20).asset
    assert (told.watchers[0].state, told.watchers[0].event_count) == (events_pb2.WATCHER_STATE_RUNNING, 2)
    assert told.stale_callback.stale_time == LONG_AGO


def test_the_log_of_a_watcher_and_of_the_callback_is_found(
    client: httpx.Client, parts: None, store: ObjectStore
) -> None:
    key = hashlib.sha256(b"parts").hexdigest()[:8]
    store.put(f"logs/parts/stale__2026-01-01T00:00:00+00:00__{key}/__callback__/-1/1.log", b"called\n")
    page = client.get("/assets/parts/log").json()
    assert ([line["text"] for line in page["lines"]], page["complete"]) == (["called"], True)
    # Its executor is not there: nothing is known of the log yet.
    assert client.get("/assets/parts/log", params={"watcher": "w"}).json()["lines"] == []
    missing = client.get("/assets/parts/log", params={"watcher": "x"})
    assert (missing.status_code, missing.json()["code"]) == (404, "ASSET_LOG_NOT_FOUND")


def test_a_partition_is_named_by_hand(client: httpx.Client, parts: None, scheduler: Any, stub: Any) -> None:
    scheduler.commands.clear()
    assert client.post("/assets/parts/events", json={"partition_key": "green"}).status_code == 200
    assert client.post("/dags/parts/runs", json={"run_id": "by-hand", "partition_key": "green"}).status_code == 200
    stub.TriggerRun(gateway_pb2.TriggerRunRequest(dag_id="parts", run_id="x", partition_key="blue"), timeout=20)
    first, second, third = scheduler.commands
    assert first.create_asset_event.partition_key == second.trigger_run.partition_key == "green"
    assert third.trigger_run.partition_key == "blue"
    assert client.post("/dags/parts/runs", json={"partition_key": "x" * 251}).status_code == 400


# -- parameters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conf", "code"),
    [({}, "PARAM_MISSING"), ({"day": "one"}, "PARAM_INVALID"), ({"day": 1, "size": "xl"}, "PARAM_INVALID")],
)
def test_a_conf_that_does_not_fit_the_parameters_is_refused(
    client: httpx.Client, lineage: None, conf: dict[str, Any], code: str
) -> None:
    response = client.post("/dags/user/runs", json={"conf": conf})
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert "Its schema" in response.json()["fix"]


def test_a_conf_that_fits_may_have_more_keys(client: httpx.Client, lineage: None, scheduler: Any) -> None:
    response = client.post("/dags/user/runs", json={"run_id": "fits", "conf": {"day": 1, "other": [1]}})
    assert response.status_code == 200


def test_one_task_is_cleared_with_parameters_of_its_own(client: httpx.Client, lineage: None, scheduler: Any) -> None:
    scheduler.commands.clear()
    path = "/dags/user/runs/asset__1/clear"
    wrong = client.post(path, json={"task_ids": ["t0"], "conf": {"day": "one"}})
    assert wrong.json()["code"] == "PARAM_INVALID"
    assert client.post(path, json={"task_ids": ["t0"], "conf": {"day": 2}}).status_code == 200
    (command,) = scheduler.commands
    assert json.loads(command.clear_tasks.task_conf.inline) == {"day": 2}


# -- deadlines ---------------------------------------------------------------------------------------------------


def deadline(script: Any, run_id: str, state: int, **facts: Any) -> events_pb2.WorkflowEvents:
    changed = events_pb2.DeadlineChanged(name="run", state=state, deadline_time=script.tick(), **facts)
    return script.record("late", run_id, events_pb2.WorkflowEvent(deadline_changed=changed))


def test_deadlines_come_with_the_urgent_ones_first(gateway: Any, client: httpx.Client, put: Any, script: Any) -> None:
    put(
        gateway.log,
        script.created("late", "r1"),
        script.created("late", "r2"),
        deadline(script, "r1", events_pb2.DEADLINE_STATE_PENDING),
        deadline(script, "r1", events_pb2.DEADLINE_STATE_MET),
        deadline(script, "r2", events_pb2.DEADLINE_STATE_PENDING),
        deadline(
            script,
            "r2",
            events_pb2.DEADLINE_STATE_AT_RISK,
            median_duration=Duration(seconds=90),
            run_count=5,
            expected_end_time=script.tick(),
        ),
    )
    gateway.caught_up()
    found = client.get("/deadlines", params={"dag_id": "late"}).json()["items"]
    assert [(entry["run_id"], entry["state"]) for entry in found] == [("r2", "at_risk"), ("r1", "met")]
    assert (found[0]["median_seconds"], found[0]["run_count"]) == (90.0, 5)
    assert found[0]["expected_end_time"] is not None
    assert client.get("/deadlines", params={"state": "met,missed", "dag_id": "late"}).json()["total"] == 1
    assert client.get("/deadlines", params={"state": "gone"}).json()["code"] == "STATE_UNKNOWN"


def test_schedules_of_assets_are_told_in_words() -> None:
    from spinner_webgateway.domain.words import schedule_text

    schedule = definitions_pb2.Schedule()
    schedule.assets.expression.alias = "files"
    schedule.assets.or_time.delta.period.FromSeconds(3600)
    assert schedule_text(schedule) == "When an asset of files is updated, or Every 1 h"


# -- gRPC --------------------------------------------------------------------------------------------------------


def test_grpc_says_the_same_of_assets(stub: Any, client: httpx.Client, lineage: None, scheduler: Any) -> None:
    listed = stub.ListAssets(gateway_pb2.ListAssetsRequest(query="bucket"), timeout=20).assets
    (table,) = listed
    assert stub.GetAsset(gateway_pb2.GetAssetRequest(name=NAME), timeout=20).asset == table
    assert [(user.dag_id, user.task_id) for user in table.producers] == [("maker", "t0")]
    assert [(user.dag_id, user.task_id) for user in table.consumers] == [("user", "")]
    assert (json.loads(table.extra_json), table.update_count) == ({"team": "data"}, 2)
    page = stub.ListAssetEvents(gateway_pb2.ListAssetEventsRequest(name=NAME, page_size=1), timeout=20)
    (latest,) = page.events
    assert latest.sequence == 2 and [run.run_id for run in latest.runs] == ["asset__1"]
    following = gateway_pb2.ListAssetEventsRequest(name=NAME, page_size=1, page_token=page.next_page_token)
    (first,) = stub.ListAssetEvents(following, timeout=20).events
    assert (first.producer.task_id, json.loads(first.extra_json)) == ("t0", {"rows": 3})

    scheduler.commands.clear()
    request = gateway_pb2.CreateAssetEventRequest(request_id="by-grpc", name=NAME, extra_json='{"by": "program"}')
    for _ in range(2):
        assert stub.CreateAssetEvent(request, timeout=20).request_id == "by-grpc"
    (command,) = scheduler.commands
    assert json.loads(command.create_asset_event.extra_json) == {"by": "program"}
    with pytest.raises(grpc.RpcError) as unknown:
        stub.CreateAssetEvent(gateway_pb2.CreateAssetEventRequest(name="nowhere"), timeout=20)
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_grpc_says_the_same_of_deadlines(stub: Any, client: httpx.Client, gateway: Any, put: Any, script: Any) -> None:
    put(gateway.log, script.created("late", "r3"), deadline(script, "r3", events_pb2.DEADLINE_STATE_MISSED))
    gateway.caught_up()
    request = gateway_pb2.ListDeadlinesRequest(dag_id="late", states=[events_pb2.DEADLINE_STATE_MISSED])
    (found,) = stub.ListDeadlines(request, timeout=20).deadlines
    (entry,) = client.get("/deadlines", params={"dag_id": "late", "state": "missed"}).json()["items"]
    assert (found.key.run_id, found.name, found.state) == ("r3", "run", events_pb2.DEADLINE_STATE_MISSED)
    assert found.deadline_time.ToJsonString() == entry["deadline_time"]
