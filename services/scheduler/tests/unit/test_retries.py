"""Which ends are tried again, when, and by whose word (B2)."""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, RetryAction
from spinner_scheduler.domain import times

FAILED = Outcome.OUTCOME_FAILED


def chain(made: DagDefinition, *task_ids: str) -> DagDefinition:
    for position, task_id in enumerate(task_ids):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def begin(lab, made: DagDefinition) -> None:  # type: ignore[no-untyped-def]
    lab.publish(made)
    lab.trigger()


# -- retry policies ----------------------------------------------------------------------------------------------


def policy(lab, retries: int, *rules: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = retries
    made.tasks[0].retry_delay.FromSeconds(10)
    for rule in rules:
        made.tasks[0].retry_rules.add(**rule)
    begin(lab, made)


def test_a_rule_fails_the_task_although_it_has_retries(lab) -> None:  # type: ignore[no-untyped-def]
    policy(lab, 3, {"exceptions": ["ValueError"], "action": RetryAction.RETRY_ACTION_FAIL, "reason": "bad input"})
    lab.end("a", FAILED, exception_classes=["ValueError"], message="ValueError: no")
    assert lab.states()["a"] == "failed"
    assert lab.last("task_ended").message == "ValueError: no (not tried again: bad input)"


def test_a_rule_has_a_delay_and_a_number_of_its_own_and_holds_for_subclasses(lab) -> None:  # type: ignore[no-untyped-def]
    rule: dict[str, object] = {
        "exceptions": ["acme.RateLimit"],
        "action": RetryAction.RETRY_ACTION_RETRY,
        "retries": 1,
    }
    policy(lab, 0, {**rule, "delay": times.to_duration(60 * times.SECOND)})
    said = {"exception_classes": ["acme.Burst", "KeyError"], "exception_bases": ["acme.RateLimit", "Exception"]}
    lab.end("a", FAILED, **said)
    lab.at(59)
    assert lab.ordered() == []
    lab.at(60)
    lab.end("a", FAILED, **said)
    assert lab.run_state() == "failed"


def test_causes_are_not_what_a_rule_means_and_the_first_rule_wins(lab) -> None:  # type: ignore[no-untyped-def]
    policy(
        lab,
        1,
        {"exceptions": ["KeyError"], "action": RetryAction.RETRY_ACTION_FAIL},
        {"exceptions": ["OSError"], "action": RetryAction.RETRY_ACTION_RETRY},
        {"exceptions": ["OSError"], "action": RetryAction.RETRY_ACTION_FAIL},
    )
    lab.end("a", FAILED, exception_classes=["OSError", "KeyError"])
    assert lab.states()["a"] == "up_for_retry"


def test_jitter_spreads_a_fixed_delay_the_same_way_each_time(make_lab) -> None:  # type: ignore[no-untyped-def]
    def delays() -> list[int]:
        lab = make_lab()
        made = chain(lab.dag(), "a", "b", "c")
        for task in made.tasks:
            task.ClearField("upstream")
            task.retries = 1
            task.retry_delay.FromSeconds(60)
            task.retry_jitter = 0.5
        begin(lab, made)
        for task in ("a", "b", "c"):
            lab.end(task, FAILED)
        ends = [e.task_ended for _, _, e in lab.events if e.HasField("task_ended")]
        return [times.from_timestamp(end.next_time) - lab.now for end in ends]

    first = delays()
    assert first == delays()
    assert len(set(first)) == 3
    assert all(60 * times.SECOND <= delay < 90 * times.SECOND for delay in first)
