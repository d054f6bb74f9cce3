"""Structure of workflows: final job, leaves, cycles, priorities."""

import pytest
from spinner_token_fetcher.domain.graph import WorkflowInvalidError, ordered, scores, verify, with_final


def test_the_final_job_comes_after_all_leaves():
    assert with_final("w", {"a": [], "b": ["a"], "c": ["a"]})["final"] == ["b", "c"]


@pytest.mark.parametrize(
    ("jobs", "says"),
    [
        ({}, "has no job"),
        ({"final": []}, "named final"),
        ({"a": ["x"]}, "depends on x, which is not in the workflow"),
        ({"a": ["b"], "b": ["a"], "c": []}, "cycle: a needs b needs a"),
    ],
)
def test_a_wrong_structure_is_refused_with_the_fix(jobs, says):
    with pytest.raises(WorkflowInvalidError, match=says):
        with_final("w", jobs)


def test_exactly_one_leaf_is_allowed():
    with pytest.raises(WorkflowInvalidError, match="2 last jobs"):
        verify("w", {"a": [], "b": []})


def test_parents_come_before_children_in_a_deep_workflow():
    graph = {str(number): [str(number + 1)] for number in range(5000)} | {"5000": []}
    assert ordered("w", graph)[0] == "5000"


def test_a_score_counts_every_descendant_once():
    graph = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
    found = scores("w", graph, {"a": 1.0, "b": 5.0, "c": 0.5, "d": 2.0})
    assert found == {"a": 8.5, "b": 7.0, "c": 2.5, "d": 2.0}
