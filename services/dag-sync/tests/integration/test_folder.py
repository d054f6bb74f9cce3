"""E1, E2, A6, A9: from a folder to definitions and parse errors on real Kafka."""

import io
import signal
import tarfile
import time

import grpc
import pytest
import zstandard
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2
from spinner_proto.dagsync.v1 import dagsync_pb2
from spinner_proto.definitions.v1 import definitions_pb2 as pb


@pytest.fixture
def folder(sync):
    root = sync.folder / "bundle"
    (root / "dags").mkdir(parents=True)
    sync.bundles({"name": "main", "kind": "folder", "path": str(root), "interval_seconds": 0.3, "timeout_seconds": 2})
    return root


def write(root, **files):
    for name, text in files.items():
        target = root / "dags" / f"{name}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def test_a_folder_becomes_definitions_with_their_packed_bundle(sync, folder, tools):
    write(folder, a=tools.dag("a"), b=tools.dag("b", tier=2))
    (folder / "dags" / "query.sql").write_text("select 1")
    sync.start()
    tools.until(lambda: set(sync.current()) == {"a"} and set(sync.current(2)) == {"b"}, "both are announced")
    records = {record.headers["spinner-dag-id"]: record for record in sync.definition_records()}
    definitions = {definition.dag_id: definition for definition in sync.definitions()}
    a = definitions["a"]
    assert records["a"].key == f"a@{a.version}"
    assert records["a"].headers["spinner-cluster"] == "spinner"
    assert records["a"].headers["spinner-tier"] == "1"
    assert records["a"].headers["spinner-partition"] == str(a.placement.partition)
    assert records["a"].headers["spinner-version"] == a.version == sync.current()["a"]
    assert (a.placement.partition, "a", a.version) in sync.inbox()
    assert a.source.inline.decode() == tools.dag("a")
    packed = (sync.folder / "objects" / a.bundle.object_key).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().decompressobj().decompress(packed))) as archive:
        assert archive.getnames() == ["dags/a.py", "dags/b.py", "dags/query.sql"]
        assert archive.extractfile("dags/query.sql").read() == b"select 1"


def test_edits_are_live_in_seconds_and_change_only_what_they_touch(sync, folder, tools):
    write(folder, a=tools.dag("a"), b=tools.dag("b"))
    sync.start()
    before = tools.until(lambda: len(sync.current()) == 2 and sync.current(), "both are announced")
    edited = time.monotonic()
    write(folder, a=tools.dag("a", note="edited"))
    tools.until(lambda: sync.current()["a"] != before["a"], "the edit is announced", 5)
    print(f"\nedit → announced: {time.monotonic() - edited:.2f} s")
    assert sync.current()["b"] == before["b"]
    assert len(sync.definitions()) == 3
    (folder / "plugins").mkdir()
    (folder / "plugins" / "shared.py").write_text("X = 1")
    tools.until(lambda: sync.current()["b"] != before["b"], "plugins make new versions of all", 5)
    (folder / "dags" / "b.py").unlink()
    tools.until(lambda: set(sync.current()) == {"a"}, "the removal is announced", 5)


def test_errors_appear_keep_the_dag_running_and_are_mended(sync, folder, tools):
    write(folder, a=tools.dag("a"), b=tools.dag("b"))
    sync.start()
    before = tools.until(lambda: len(sync.current()) == 2 and sync.current(), "both are announced")
    write(folder, a="import nowhere_at_all\n" + tools.dag("a"))
    error = tools.until(lambda: sync.errors().get("main/dags/a.py"), "the error is reported", 5)
    assert (error.error_type, error.line, error.source_line) == ("ModuleNotFoundError", 1, "import nowhere_at_all")
    assert list(error.dag_ids) == ["a"]
    assert error.fix and error.stack_trace and error.bundle_version
    assert sync.current() == before
    write(folder, a="import nowhere_at_all, os\n" + tools.dag("a"))
    later = tools.until(
        lambda: (found := sync.errors()["main/dags/a.py"]).source_line != error.source_line and found,
        "the new error",
        5,
    )
    assert later.detected_time == error.detected_time
    assert later.last_updated_time.ToNanoseconds() > error.last_updated_time.ToNanoseconds()
    write(folder, a=tools.dag("a", note="mended"))
    tools.until(lambda: not sync.errors(), "the error is mended", 5)
    over = [record.decode(pb.ParseErrorEnded) for record in sync.records("parse_error_history")]
    assert [ended.error for ended in over] == [error, later]
    assert over[0].end_time == later.last_updated_time
    tools.until(lambda: sync.current()["a"] != before["a"], "the DAG goes on")


def test_no_bad_file_holds_up_a_good_one(sync, folder, tools):
    bad = {
        "loops": ("dag_of_spinner = 1\nwhile True: pass\n", "TimedOut"),
        "exits": ("dag_of_spinner = 1\nimport os; os._exit(0)\n", "Exited"),
        "crashes": ("dag_of_spinner = 1\nimport ctypes; ctypes.string_at(0)\n", "Crashed"),
        "syntax": ("dag_of_spinner = (\n", "SyntaxError"),
        "no_tier": (
            "from spinner.core.dag import DAG\nDAG('x', access_control={'r': {'can_dag_read'}})\n",
            "SpinnerDagError",
        ),
        "no_access": ("from spinner.core.dag import DAG\nDAG('y', tier=1)\n", "SpinnerDagError"),
        "reserved": (tools.dag("__mine"), "CheckFailed"),
        "twice": (tools.dag("good1"), "DuplicateDagId"),
    }
    write(folder, **{name: text for name, (text, _) in bad.items()})
    write(folder, **{f"good{number}": tools.dag(f"good{number}") for number in range(3)})
    write(
        folder, **{"spinner_tier_2_3/team/low": tools.dag("low", tier=2), "spinner_tier_1_9/team/far": tools.dag("far")}
    )
    write(folder, **{"spinner_tier_1_0/team/wrong": tools.dag("wrong", tier=3)})
    sync.start()
    started = time.monotonic()
    tools.until(lambda: {"good0", "good1", "good2"} <= set(sync.current()), "good files are announced")
    assert time.monotonic() - started < 20
    expected = {f"main/dags/{name}.py": kind for name, (_, kind) in bad.items()}
    expected["main/dags/spinner_tier_1_9/team/far.py"] = "PlacementError"
    expected["main/dags/spinner_tier_1_0/team/wrong.py"] = "CheckFailed"
    tools.until(lambda: len(sync.errors()) == len(expected), "all errors are reported")
    assert {key: error.error_type for key, error in sync.errors().items()} == expected
    assert all(error.message and error.fix for error in sync.errors().values())
    assert "dags/good1.py" in sync.errors()["main/dags/twice.py"].message
    assert sync.inbox(2) == [(3, "low", sync.current(2)["low"])]


def test_a_kill_at_any_moment_repeats_no_definition_and_loses_none(sync, folder, tools):
    count = 40
    write(folder, **{f"d{number}": tools.dag(f"d{number}") for number in range(count)}, broken="dag_of_spinner = (")
    written = []
    for patience in (0, 1, 15, 30):
        sync.start()
        tools.until(lambda wanted=patience: len(sync.definition_records()) >= wanted, "some are written")
        sync.kill()
        written.append(len(sync.definition_records()))
    sync.start()
    tools.until(lambda: len(sync.current()) == count, "all are announced")
    records = sync.definition_records()
    print(f"\ndefinitions in the log at each kill: {written}, at the end {len(records)}")
    assert len({record.key for record in records}) == count
    assert {definition.dag_id: definition.version for definition in sync.definitions()} == sync.current()
    before = len(records), sync.log.end_offset("workflow_parse_errors", 0)
    assert sync.kill(signal.SIGTERM) == 0
    sync.start()
    announced = len(sync.inbox())
    tools.until(lambda: len(sync.inbox()) >= announced and sync.sync("main").dags == count, "a lap after the restart")
    assert (len(sync.definition_records()), sync.log.end_offset("workflow_parse_errors", 0)) == before


def test_placements_are_stored_not_computed(sync, folder, tools):
    write(folder, a=tools.dag("a"))
    sync.start()
    tools.until(lambda: sync.current(), "announced")
    (first,) = sync.definitions()
    wanted = (first.placement.partition + 1) % 4
    (folder / "dags" / "a.py").unlink()
    write(folder, **{f"spinner_tier_1_{wanted}/team/a": tools.dag("a")})
    tools.until(lambda: len(sync.definitions()) == 2, "the folder decides")
    assert sync.definitions()[1].placement.partition == wanted
    sync.kill()
    (folder / "dags" / f"spinner_tier_1_{wanted}" / "team" / "a.py").unlink()
    write(folder, a=tools.dag("a"))
    sync.start()
    tools.until(lambda: len(sync.definitions()) == 3, "the file moved back")
    assert sync.definitions()[2].placement.partition == wanted


def test_bundles_may_come_go_and_be_wrong_while_others_go_on(sync, folder, tools):
    write(folder, a=tools.dag("a"))
    main = {"name": "main", "kind": "folder", "path": str(folder), "interval_seconds": 0.3}
    lost = {"name": "lost", "kind": "folder", "path": str(sync.folder / "nowhere")}
    sync.bundles(main, lost, {"name": "odd", "kind": "svn"})
    sync.start()
    tools.until(lambda: set(sync.current()) == {"a"}, "announced")
    tools.until(lambda: set(sync.errors()) == {"lost/.", "odd/."}, "both problems are reported")
    assert sync.errors()["lost/."].error_type == "BundleNotFound"
    assert "kind" in sync.errors()["odd/."].message
    statuses = {status.name: status for status in sync.stub().ListBundles(dagsync_pb2.ListBundlesRequest()).bundles}
    assert (statuses["main"].kind, statuses["main"].dags, statuses["main"].files) == ("folder", 1, 1)
    assert "nowhere" in statuses["lost"].last_error
    with pytest.raises(grpc.RpcError):
        sync.sync("odd")
    (sync.folder / "bundles.yaml").write_text("bundles: [")
    tools.until(lambda: "(configuration)/." in sync.errors(), "the file is reported")
    assert set(sync.current()) == {"a"}
    second = sync.folder / "second" / "dags"
    second.mkdir(parents=True)
    (second / "b.py").write_text(tools.dag("b"))
    sync.bundles({"name": "second", "kind": "folder", "path": str(second.parent)})
    tools.until(lambda: set(sync.current()) == {"b"} and not sync.errors(), "the other bundle took its DAGs with it")


def test_records_put_on_its_topics_by_hand_are_passed_over(sync, folder, tools):
    write(folder, a=tools.dag("a"))
    sync.bundles({"name": "main", "kind": "folder", "path": str(folder), "interval_seconds": 0.3})
    sync.start()
    tools.until(lambda: set(sync.current()) == {"a"}, "announced")
    sync.kill()
    nowhere = common_pb2.Placement(cluster="gone", tier=1)
    producer = sync.log.producer("by-hand")
    for topic in ("workflow_definitions", "workflow_parse_errors"):
        for value in (b"", b"\xff\xfe no protobuf message", b"\x0a\x00"):
            producer.send(Outgoing(topic, f"by-hand-{len(value)}", None, partition=0, raw=value))
    # As a cluster leaves it that was removed with all its topics.
    left = pb.DagDefinition(dag_id="left", version="1", placement=nowhere, bundle={"name": "gone"})
    producer.send(Outgoing("workflow_definitions", "left@1", left, partition=0))
    producer.flush()
    producer.close()
    sync.start()
    write(folder, a=tools.dag("a"), b=tools.dag("b"))
    tools.until(lambda: set(sync.current()) == {"a", "b"}, "it goes on")
    log = (sync.folder / "log.txt").read_text()
    assert "6 records of the log can't be read" in log
    assert "DAG left is forgotten" in log


TIMETABLE = """
from datetime import UTC, datetime, timedelta
from spinner import DAG, EmptyOperator
from spinner.timetables import DagRunInfo, Timetable


class Daily(Timetable):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        start = restriction.earliest if last_automated_data_interval is None else last_automated_data_interval.end
        return DagRunInfo.interval(start, start + timedelta(days=1))


with DAG("custom", schedule=Daily(), start_date=datetime(2026, 1, 1, tzinfo=UTC), tier=1,
         access_control={"team": {"can_dag_read"}}, owner="team") as dag:
    EmptyOperator(task_id="one")
"""


def test_a_custom_timetable_is_evaluated_ahead_and_again_without_a_new_version(sync, folder, tools):
    write(folder, custom=TIMETABLE)
    sync.start()
    tools.until(lambda: sync.timetables(), "the timetable is told")
    (told,) = sync.timetables()
    assert (told.dag_id, told.version) == ("custom", sync.current()["custom"])
    assert told.intervals[-1].run_after.seconds > time.time() + 30 * 86_400
    assert not sync.definitions()[-1].schedule.explicit.intervals
    # After a restart nobody remembers what was told: it is told again, and the version is the same.
    sync.kill()
    sync.start()
    tools.until(lambda: len(sync.timetables()) == 2, "the timetable is told again")
    assert sync.timetables()[1].version == told.version
    assert len(sync.definitions()) == 1
