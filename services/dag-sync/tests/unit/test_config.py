"""The file of bundles: what is wrong is said, the rest goes on."""

from pathlib import Path

import pytest
from spinner_dag_sync.domain.config import read_config

BASE = Path("/srv")


def test_entries_get_their_kinds_interval_and_absolute_paths():
    config = read_config(
        "- {name: a, kind: folder, path: dags}\n- {name: g, kind: git, url: ./repo, interval_seconds: 5}", BASE
    )
    assert [(bundle.name, bundle.interval) for bundle in config.bundles] == [("a", 2), ("g", 5)]
    assert config.bundles[0].path == Path("/srv/dags")
    assert config.bundles[1].url == "/srv/repo"
    assert not config.problems


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{kind: folder, path: x}", "name: Field required"),
        ("{name: a, kind: svn, path: x}", "kind:"),
        ("{name: a, kind: folder}", "needs path"),
        ("{name: a, kind: git}", "needs url"),
        ("{name: a, kind: folder, path: x, colour: red}", "colour: Extra inputs"),
        ("{name: ../a, kind: folder, path: x}", "name:"),
        ("{name: a, kind: folder, path: x, interval_seconds: 0}", "interval_seconds"),
        ("{name: a, kind: pinball, repository: r}", "tier and access_control"),
        ("just text", "#1"),
        ("{name: good, kind: folder, path: y}", "Two bundles"),
    ],
)
def test_a_wrong_entry_is_a_problem_and_the_others_go_on(entry, says):
    config = read_config(f"bundles:\n  - {{name: good, kind: folder, path: x}}\n  - {entry}", BASE)
    assert [bundle.name for bundle in config.bundles] == ["good"]
    (problem,) = config.problems
    assert says in f"{problem.name} {problem.message}" or problem.name == "#2"
    assert problem.fix and config.complete


@pytest.mark.parametrize("text", ["a: [", "", "42", "bundles: {}", "other: []"])
def test_a_file_without_a_list_removes_nothing(text):
    config = read_config(text, BASE)
    assert not config.complete and not config.bundles
    assert config.problems[0].message and config.problems[0].fix
