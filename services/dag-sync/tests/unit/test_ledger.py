"""What is written for a bundle, given what the log says already."""

from datetime import UTC, datetime, timedelta

import pytest
from spinner_dag_sync.domain.ledger import Announcement, Ledger, ParsedBundle
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2 as pb

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def dag(dag_id, version="v1", path="a.py", bundle="main", partition=0):
    made = pb.DagDefinition(dag_id=dag_id, version=version, relative_path=path)
    made.bundle.name = bundle
    made.placement.CopyFrom(common_pb2.Placement(cluster="spinner", tier=1, partition=partition))
    return made


def bundle(*dags, errors=None, broken=(), pending=(), name="main", version="b1"):
    files = {}
    for item in dags:
        files.setdefault(item.relative_path, []).append(item)
    definitions = {path: tuple(items) for path, items in files.items()}
    return ParsedBundle(
        name, version, definitions, errors or {}, frozenset(broken) | frozenset(pending), frozenset(pending)
    )


def error(text="bad", **fields):
    return pb.ParseError(error_type="ImportError", message=text, **fields)


def written(ledger, parsed, now=NOW):
    changes = ledger.reconcile(parsed, now)
    ledger.apply(changes)
    return changes


def versions(changes):
    return [(item.dag_id, item.version) for item in changes.announcements]


def restarted(*records, errors=()):
    """A ledger as a new process finds it."""
    ledger = Ledger()
    for record in records:
        ledger.restore_definition(record)
    for item in errors:
        ledger.restore_error(item)
    return ledger


def test_a_new_dag_is_defined_and_announced_once():
    ledger = Ledger()
    first = written(ledger, bundle(dag("x")))
    assert [item.dag_id for item in first.definitions] == ["x"]
    assert versions(first) == [("x", "v1")]
    assert not written(ledger, bundle(dag("x"), version="b2"))


def test_going_back_to_an_earlier_version_makes_it_current_again():
    ledger = Ledger()
    records = []
    for hour, version in enumerate(["v1", "v2", "v1"]):
        changes = written(ledger, bundle(dag("x", version)), NOW + timedelta(hours=hour))
        records += changes.definitions
        assert versions(changes) == [("x", version)]
    # Different versions of a DAG may lie in different partitions, so they are read in any order.
    assert restarted(*reversed(records)).current("x").version == "v1"


def test_after_a_restart_definitions_are_not_repeated_but_announcements_are():
    """kill -9 between the definition and its announcement loses nothing."""
    ledger = Ledger()
    records = written(ledger, bundle(dag("x"))).definitions
    changes = written(restarted(*records), bundle(dag("x")))
    assert not changes.definitions
    assert versions(changes) == [("x", "v1")]


def test_a_removed_dag_is_announced_as_gone_once():
    ledger = Ledger()
    written(ledger, bundle(dag("x"), dag("y")))
    assert versions(written(ledger, bundle(dag("y")))) == [("x", None)]
    assert not written(ledger, bundle(dag("y")))
    assert versions(written(ledger, bundle(dag("x"), dag("y")))) == [("x", "v1")]


@pytest.mark.parametrize("kind", ["broken", "pending"])
def test_dags_of_a_file_that_cant_be_read_stay(kind):
    ledger = Ledger()
    written(ledger, bundle(dag("x")))
    assert not written(ledger, bundle(**{kind: ["a.py"]}))
    assert ledger.current("x") is not None


def test_dags_that_fail_a_check_stay_as_they_were():
    ledger = Ledger()
    written(ledger, bundle(dag("x"), dag("y")))
    changes = written(ledger, bundle(dag("y"), errors={"a.py": error(dag_ids=["x"])}))
    assert not changes.announcements


def test_another_placement_moves_the_dag():
    ledger = Ledger()
    written(ledger, bundle(dag("x", partition=0)))
    changes = written(ledger, bundle(dag("x", "v2", partition=1)))
    assert [(item.version, item.placement.partition) for item in changes.announcements] == [(None, 0), ("v2", 1)]
    assert ledger.current("x").placement.partition == 1


def test_one_id_in_two_files_is_an_error_that_names_both():
    ledger = Ledger()
    changes = written(ledger, bundle(dag("x", path="a.py"), dag("x", "v2", path="b.py")))
    assert versions(changes) == [("x", "v1")]
    (found,) = changes.errors
    assert (found.relative_path, found.error_type, list(found.dag_ids)) == ("b.py", "DuplicateDagId", ["x"])
    assert "a.py" in found.message and "b.py" in found.message
    assert not written(ledger, bundle(dag("x", path="a.py"), dag("x", "v2", path="b.py")))


def test_the_file_that_has_an_id_keeps_it():
    ledger = Ledger()
    written(ledger, bundle(dag("x", path="z.py")))
    changes = written(ledger, bundle(dag("x", path="a.py"), dag("x", path="z.py")))
    assert [item.relative_path for item in changes.errors] == ["a.py"]
    assert not changes.announcements


def test_an_id_of_another_bundle_is_an_error_until_it_is_given_up():
    ledger = Ledger()
    written(ledger, bundle(dag("x")))
    other = bundle(dag("x", "v2", bundle="other"), name="other")
    changes = written(ledger, other)
    assert not changes.announcements
    assert "bundle main" in changes.errors[0].message
    written(ledger, bundle())
    changes = written(ledger, other)
    assert versions(changes) == [("x", "v2")]
    assert changes.mended == [("other", "a.py")]


def test_layouts_of_runs_are_not_versions_of_the_dag():
    layout = dag("x", "layout")
    layout.dynamic_source_version = "v1"
    layout.parsed_time.FromDatetime(NOW + timedelta(days=1))
    assert restarted(dag("x", "v1"), layout).current("x").version == "v1"


def test_errors_keep_when_they_were_detected_and_are_not_repeated():
    ledger = Ledger()
    (first,) = written(ledger, bundle(errors={"a.py": error("one at 0x7f01")})).errors
    assert not written(ledger, bundle(errors={"a.py": error("one at 0x7f99")}, version="b2"), NOW + timedelta(hours=1))
    ledger = restarted(errors=[first])
    assert not written(ledger, bundle(errors={"a.py": error("one at 0x7f01")}), NOW + timedelta(hours=2))
    (second,) = written(ledger, bundle(errors={"a.py": error("two")}), NOW + timedelta(hours=3)).errors
    assert second.detected_time == first.detected_time
    assert second.last_updated_time.ToDatetime(UTC) == NOW + timedelta(hours=3)
    assert written(ledger, bundle()).mended == [("main", "a.py")]


def test_an_error_stays_while_its_file_is_being_read():
    ledger = Ledger()
    written(ledger, bundle(errors={"a.py": error()}))
    assert not written(ledger, bundle(pending=["a.py"]))


def test_a_bundle_that_is_no_longer_configured_takes_its_dags_and_errors_with_it():
    ledger = Ledger()
    written(ledger, bundle(dag("x"), errors={"b.py": error()}))
    changes = ledger.without_bundle("main", NOW)
    placement = common_pb2.Placement(cluster="spinner", tier=1)
    assert changes.announcements == [Announcement("x", None, placement)]
    assert changes.mended == [("main", "b.py")]
    ledger.apply(changes)
    assert not ledger.bundles()


def test_an_error_that_is_over_is_told_with_its_times():
    ledger, later = Ledger(), NOW + timedelta(minutes=1)
    written(ledger, bundle(errors={"a.py": error("first")}))
    assert not written(ledger, bundle(errors={"a.py": error("first")}, version="b2"), later).ended
    (replaced,) = written(ledger, bundle(errors={"a.py": error("second")}), later).ended
    assert (replaced.error.message, replaced.error.last_updated_time.ToDatetime(UTC)) == ("first", NOW)
    assert replaced.end_time.ToDatetime(UTC) == later
    (mended,) = written(ledger, bundle(), later + timedelta(minutes=1)).ended
    assert (mended.error.message, mended.error.detected_time.ToDatetime(UTC)) == ("second", NOW)
    written(ledger, bundle(errors={"b.py": error()}))
    assert [item.error.relative_path for item in ledger.without_bundle("main", later).ended] == ["b.py"]
    ledger.apply(ledger.bundle_error("main", error("gone", bundle="main", relative_path="."), NOW))
    assert [item.error.message for item in ledger.bundle_error("main", None, later).ended] == ["gone"]
