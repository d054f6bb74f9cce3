"""Which edits make a new version of which DAG."""

import pytest
from spinner_dag_sync.domain.snapshot import CodeHashes, Entry, Snapshot

FILES = {
    "dags/a.py": "1",
    "dags/team/b.py": "2",
    "dags/team/query.sql": "3",
    "dags/team/helpers.py": "4",
    "plugins/shared.py": "5",
    "plugins/data.json": "6",
    "README.md": "7",
    "tests/test_x.py": "8",
}
DAGS = ["dags/a.py", "dags/team/b.py"]


def codes(dependencies=(), **changes):
    files = {path: Entry(changes.get(path, content)) for path, content in FILES.items()}
    hashes = CodeHashes(Snapshot(files), DAGS)
    return {path: hashes.code(path, dependencies) for path in DAGS}


@pytest.mark.parametrize(
    ("edited", "changed"),
    [
        ("dags/a.py", {"dags/a.py"}),
        ("dags/team/query.sql", {"dags/a.py", "dags/team/b.py"}),
        ("dags/team/helpers.py", set(DAGS)),
        ("plugins/shared.py", set(DAGS)),
        ("plugins/data.json", set(DAGS)),
        ("README.md", set()),
        ("tests/test_x.py", set()),
    ],
)
def test_an_edit_changes_the_code_behind_these_dags(edited, changed):
    before, after = codes(), codes(**{edited: "new"})
    assert {path for path in DAGS if before[path] != after[path]} == changed


def test_what_a_file_read_is_part_of_its_code():
    assert codes(["README.md"]) != codes(["README.md"], **{"README.md": "new"})


def test_versions_cover_paths_contents_and_modes_and_nothing_else():
    one = Snapshot({"a": Entry("1"), "b": Entry("2")})
    assert one.version == Snapshot({"b": Entry("2"), "a": Entry("1")}).version
    assert (
        len(
            {
                one.version,
                Snapshot({"a": Entry("1")}).version,
                Snapshot({"a": Entry("1", True), "b": Entry("2")}).version,
            }
        )
        == 3
    )
    assert Snapshot({}, revision="abc").version == "abc"
