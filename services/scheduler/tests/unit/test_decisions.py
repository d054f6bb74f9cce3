"""People decide: a task waits without a worker until it has an answer or its time is over (B4)."""

from __future__ import annotations

import json

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.explain.v1.explain_pb2 import Subject
from spinner_proto.inbox.v1.inbox_pb2 import HumanRequest, InboxMessage
from spinner_scheduler.domain.explain import explain

YES_NO = {"subject": "Ship it?", "options": ["Approve", "Reject"]}


def waiting(lab, **human: object) -> None:  # type: ignore[no-untyped-def]
    """Task `ask` of run `run` asks a person; `after` follows."""
    made = lab.dag()
    made.tasks.add(task_id="ask")
    made.tasks.add(task_id="after", upstream=[0])
    lab.publish(made)
    lab.trigger()
    lab.start("ask")
    order = lab.order("ask")
    deferral = {"method_name": "execute_complete", "human": HumanRequest(**{**YES_NO, **human})}  # type: ignore[arg-type]
    lab.take(InboxMessage(task_report=lab.report(order, 3, deferred=deferral)))


def decide(lab, request_id: str = "", **wish: object):  # type: ignore[no-untyped-def]
    return lab.command(request_id=request_id, decide_task={"run_id": "run", "task_id": "ask", "map_index": -1, **wish})


def payload(lab) -> dict[str, object]:  # type: ignore[no-untyped-def]
    order = lab.order("ask")
    assert (order.segment, order.resume_method) == (2, "execute_complete")
    return dict(json.loads(order.resume_event_json))


def code(answer) -> str:  # type: ignore[no-untyped-def]
    assert answer is not None and answer.HasField("command_rejected"), answer
    return str(answer.command_rejected.code)


def test_a_decision_lets_the_task_go_on(lab) -> None:  # type: ignore[no-untyped-def]
    waiting(lab)
    assert lab.states()["ask"] == "deferred"
    # Neither a worker nor a trigger is ordered: the order is still that of the first segment.
    assert lab.order("ask").segment == 0
    lab.at(86_400)
    assert decide(lab, chosen_options=["Approve"], note="fine", params_json=b'{"day": 3}').HasField("command_accepted")
    said = payload(lab)
    assert (said["chosen_options"], said["params_input"], said["note"]) == (["Approve"], {"day": 3}, "fine")
    assert (said["decided_by"], said["timed_out"]) == ("user:alice", False)
    lab.end("ask")
    assert lab.ordered() == ["after"]


def test_explain_says_who_has_to_decide_what_by_when(lab) -> None:  # type: ignore[no-untyped-def]
    waiting(lab, assignees=["bob"], timeout={"seconds": 60}, defaults=["Reject"])
    (reason,) = explain(lab.state, Subject(dag_id="dag", run_id="run", task_id="ask"), lab.now).reasons
    assert (reason.code, [holder.name for holder in reason.holders]) == ("DECISION_PENDING", ["bob"])
    assert "Ship it?" in reason.message and "the default is taken" in reason.message


def test_the_first_decision_counts(lab) -> None:  # type: ignore[no-untyped-def]
    waiting(lab)
    decide(lab, "same", chosen_options=["Approve"])
    assert decide(lab, "same", chosen_options=["Approve"]) is None
    assert code(decide(lab, chosen_options=["Reject"])) == "NOT_WAITING"
    assert payload(lab)["chosen_options"] == ["Approve"]


def test_the_time_out_takes_the_default(lab) -> None:  # type: ignore[no-untyped-def]
    waiting(lab, defaults=["Reject"], timeout={"seconds": 60})
    lab.at(59)
    assert lab.order("ask").segment == 0
    lab.at(60)
    said = payload(lab)
    assert (said["chosen_options"], said["timed_out"], said["decided_by"]) == (["Reject"], True, "")
    assert code(decide(lab, chosen_options=["Approve"])) == "NOT_WAITING"


def test_without_a_default_the_time_out_is_an_error(lab) -> None:  # type: ignore[no-untyped-def]
    waiting(lab, timeout={"seconds": 60})
    lab.at(60)
    assert lab.order("ask").resume_error.startswith("timeout")


@pytest.mark.parametrize(
    ("human", "wish", "expected"),
    [
        ({}, {"chosen_options": ["Perhaps"]}, "INVALID_ARGUMENT"),
        ({}, {}, "INVALID_ARGUMENT"),
        ({}, {"chosen_options": ["Approve", "Reject"]}, "INVALID_ARGUMENT"),
        ({}, {"chosen_options": ["Approve"], "params_json": b"[1]"}, "INVALID_ARGUMENT"),
        ({"assignees": ["bob"]}, {"chosen_options": ["Approve"]}, "NOT_ASSIGNED"),
        ({}, {"chosen_options": ["Approve"], "task_id": "absent"}, "TASK_NOT_FOUND"),
        ({}, {"chosen_options": ["Approve"], "task_id": "after"}, "NOT_WAITING"),
    ],
)
def test_refusals(lab, human, wish, expected: str) -> None:  # type: ignore[no-untyped-def]
    waiting(lab, **human)
    assert code(decide(lab, **wish)) == expected
    assert lab.states()["ask"] == "deferred"


def test_assigned_people_and_several_options(lab) -> None:  # type: ignore[no-untyped-def]
    waiting(lab, assignees=["bob", "alice"], multiple=True)
    decide(lab, chosen_options=["Approve", "Reject"])
    assert payload(lab)["chosen_options"] == ["Approve", "Reject"]


def test_a_killed_task_fails_without_a_retry(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    for task_id in ("a", "b", "c"):
        made.tasks.add(task_id=task_id, retries=3)
    lab.publish(made)
    lab.trigger()
    for task_id in ("a", "b"):
        lab.start(task_id)
    lab.end("b", Outcome.OUTCOME_FAILED)
    assert lab.command(kill_tasks={"run_id": "run", "task_ids": ["a", "b"]}).command_accepted.task_count == 2
    assert lab.order("a").desired_state == 3 and lab.order("c").desired_state == 1
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert (lab.states()["a"], lab.states()["b"]) == ("failed", "failed")
    assert code(lab.command(kill_tasks={"run_id": "run", "task_ids": ["a"]})) == "NOTHING_TO_KILL"
    lab.end("c")
    assert lab.run_state() == "failed"


def test_what_waits_for_a_person_can_be_cleared_and_stopped(lab) -> None:  # type: ignore[no-untyped-def]
    waiting(lab)
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["ask"]})
    assert code(decide(lab, chosen_options=["Approve"])) == "NOT_WAITING"
    assert lab.order("ask").try_key.try_number == 2
    lab.command(stop_run={"run_id": "run"})
    lab.end("ask", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.run_state() == "failed" and lab.orders == {}
