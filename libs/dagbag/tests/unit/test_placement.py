"""A9: where a DAG's runs are scheduled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spinner_dagbag import PlacementError, folder_placement, place
from spinner_proto.common.v1.common_pb2 import Placement

CELLS = {"spinner_tier_1": 4, "spinner_tier_2": 2, "pii_tier_1": 1}


def placed(path, tier=1, stored=None, dag_id="x"):
    return place(dag_id, tier, path, "spinner", lambda cell: CELLS.get(cell, 0), stored)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dags/spinner_tier_1_3/team/file.py", ("spinner", 1, 3)),
        ("repository/dags/pii_tier_1_0/a/b/file.py", ("pii", 1, 0)),
        ("dags/pii_tier_1/file.py", ("pii", 1, None)),
        ("dags/team/file.py", None),
        ("spinner_tier_1_3/file.py", None),
        ("dags/spinner_tier_9_0/file.py", None),
    ],
)
def test_the_folders_name_is_read(path, expected):
    found = folder_placement(path)
    assert (found and (found.cluster, found.tier, found.partition)) == expected


def test_the_folder_decides_before_everything_else():
    stored = Placement(cluster="spinner", tier=1, partition=0)
    assert placed("dags/spinner_tier_2_1/t/f.py", 1, stored) == Placement(cluster="spinner", tier=2, partition=1)


def test_a_stored_placement_is_kept_within_its_cell():
    stored = Placement(cluster="spinner", tier=1, partition=3)
    assert placed("f.py", 1, stored) == stored
    assert placed("f.py", 2, stored).tier == 2


def test_a_new_dag_is_placed_as_kafka_would_place_its_id():
    # murmur2 as in Kafka's own clients: positive("21") % 4 etc., fixed by its test vectors.
    assert [placed("f.py", dag_id=dag_id).partition for dag_id in ("21", "foobar", "a-little-bit-long-string")] == [
        (-973932308 & 0x7FFFFFFF) % 4,
        (-790332482 & 0x7FFFFFFF) % 4,
        (-985981536 & 0x7FFFFFFF) % 4,
    ]


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,250}", fullmatch=True), st.sampled_from([1, 2]))
def test_every_id_has_a_partition_that_exists(dag_id, tier):
    assert 0 <= placed("f.py", tier, dag_id=dag_id).partition < CELLS[f"spinner_tier_{tier}"]


@pytest.mark.parametrize(
    ("path", "tier", "says"),
    [
        ("dags/spinner_tier_1_4/f.py", 1, "partition 4"),
        ("dags/sox_tier_1_0/f.py", 1, "no cell sox_tier_1"),
        ("f.py", 3, "no cell"),
    ],
)
def test_a_place_that_does_not_exist_is_refused_with_the_fix(path, tier, says):
    with pytest.raises(PlacementError, match=says) as raised:
        placed(path, tier)
    assert raised.value.fix
