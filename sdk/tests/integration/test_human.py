"""Operators that ask a person, in a real worker: what they ask, and what they make of the answer."""

from __future__ import annotations

import json

import pytest

CHOICE = """
from spinner.operators.human import HITLOperator
with DAG("d", **OPTIONS):
    HITLOperator(
        task_id="t", subject="Day {{ ds }}?", body="**Why**: {{ 1 + 1 }}", options=["a", "b"], multiple=True,
        defaults=["b"], params={"n": Param(3, type="integer", maximum=5)}, assigned_users=["alice"],
        response_timeout=timedelta(minutes=5),
    )
"""
APPROVAL = """
from spinner.operators.human import ApprovalOperator
with DAG("d", **OPTIONS):
    ask = ApprovalOperator(task_id="t", subject="Go?", FLAGS)
    ask >> EmptyOperator(task_id="next") >> EmptyOperator(task_id="last")
"""
BRANCH = """
from spinner.operators.human import HITLBranchOperator
with DAG("d", **OPTIONS):
    sides = {"Left side": "left", "Right side": "right"}
    ask = HITLBranchOperator(task_id="t", subject="Where?", options_mapping=sides)
    ask >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
"""


def answered(executor, source, **event):  # type: ignore[no-untyped-def]
    payload = json.dumps({"decided_by": "user:bob", "timed_out": False, **event}).encode()
    return executor.run(source, segment=2, resume_method="execute_complete", resume_event_json=payload)


def test_what_is_asked(executor) -> None:  # type: ignore[no-untyped-def]
    deferred = executor.run(CHOICE).finish.deferred
    human = deferred.human
    assert (human.subject[:4], human.body, human.kind) == ("Day ", "**Why**: 2", "choice")
    assert (list(human.options), list(human.defaults), human.multiple) == (["a", "b"], ["b"], True)
    assert list(human.assignees) == ["alice"] and human.timeout.seconds == 300
    assert json.loads(human.params_json)["n"]["value"] == 3
    assert (deferred.method_name, deferred.trigger_class) == ("execute_complete", "")


def test_the_answer_is_the_result(executor) -> None:  # type: ignore[no-untyped-def]
    result = answered(executor, CHOICE, chosen_options=["a", "b"], params_input={"n": 5}, note="both")
    assert result.outcome == "success"
    found = executor.xcom("t")
    assert (found["chosen_options"], found["params_input"]) == (["a", "b"], {"n": 5})
    assert (found["responded_by"], found["timed_out"], found["note"]) == ("user:bob", False, "both")


@pytest.mark.parametrize("form", [{"n": 9}, {"n": "x"}, {"m": 1}])
def test_a_form_that_does_not_fit_fails_the_try(executor, form) -> None:  # type: ignore[no-untyped-def]
    assert answered(executor, CHOICE, chosen_options=["a"], params_input=form).outcome.startswith("failed")


def test_nobody_answers(executor) -> None:  # type: ignore[no-untyped-def]
    result = executor.run(CHOICE, segment=2, resume_method="execute_complete", resume_error="timeout: nobody")
    assert result.outcome == "failed" and "Nobody decided within 0:05:00" in result.ended.message


@pytest.mark.parametrize(
    ("flags", "choice", "outcome", "skipped"),
    [
        ("", "Approve", "success", []),
        ("", "Reject", "success", ["next"]),
        ("ignore_downstream_trigger_rules=True", "Reject", "success", ["last", "next"]),
        ("fail_on_reject=True", "Reject", "failed_no_retry", []),
    ],
)
def test_approval(executor, flags, choice, outcome, skipped) -> None:  # type: ignore[no-untyped-def]
    result = answered(executor, APPROVAL.replace("FLAGS", flags), chosen_options=[choice])
    assert (result.outcome, sorted(result.ended.skip_task_ids)) == (outcome, skipped)


def test_branch(executor) -> None:  # type: ignore[no-untyped-def]
    result = answered(executor, BRANCH, chosen_options=["Right side"])
    assert list(result.ended.skip_task_ids) == ["left"]


@pytest.mark.parametrize(
    "arguments",
    ["options=[]", "options=['a', 'a']", "options=['a'], defaults='b'", "options=['a', 'b'], defaults=['a', 'b']"],
)
def test_wrong_options_are_found_while_parsing(arguments: str) -> None:
    from spinner import ApprovalOperator, HITLOperator, SpinnerDagError

    with pytest.raises(SpinnerDagError):
        eval(f"HITLOperator(task_id='t', subject='s', {arguments})", {"HITLOperator": HITLOperator})
    with pytest.raises(SpinnerDagError):
        ApprovalOperator(task_id="t", subject="s", options=["x"])


def test_callbacks_of_a_backfill_without_alerts_are_not_called(executor) -> None:  # type: ignore[no-untyped-def]
    source = """
with DAG("d", **OPTIONS):
    @task(on_success_callback=lambda c: print("called"), on_execute_callback=lambda c: print("called"))
    def t(): pass
    t()
"""
    assert "called" in executor.run(source).log
    assert "called" not in executor.run(source, skip_callbacks=True).log
