"""Which ends are tried again, when, and by whose word (B2)."""

from __future__ import annotations

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import RetryAction
from spinner_scheduler.domain import times

from services.scheduler.tests.unit.dags import FAILED, begin, chain

# -- retries -----------------------------------------------------------------------------------------------------


def test_retries_with_a_fixed_delay(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 2
    made.tasks[0].retry_delay.FromSeconds(60)
    begin(lab, made)
    lab.end("a", FAILED)
    assert lab.states() == {"a": "up_for_retry"} and lab.ordered() == []
    lab.at(59)
    assert lab.ordered() == []
    lab.at(60)
    assert lab.order("a").try_key.try_number == 2
    lab.end("a", FAILED)
    lab.at(121)
    lab.end("a", FAILED)
    assert lab.run_state() == "failed"
    assert lab.records() == {("a", 1): ["up_for_retry"], ("a", 2): ["up_for_retry"], ("a", 3): ["failed"]}


def test_exponential_delays_double_with_jitter_up_to_the_maximum(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 5
    made.tasks[0].retry_delay.FromSeconds(10)
    made.tasks[0].retry_exponential_backoff = True
    made.tasks[0].max_retry_delay.FromSeconds(60)
    begin(lab, made)
    delays = []
    for _ in range(5):
        before = lab.now
        lab.end("a", FAILED)
        due = lab.state.timers.next_due()
        delays.append((due - before) / times.SECOND)
        lab.now = due
        lab.take()
    for number, delay in enumerate(delays):
        assert min(10 * 2**number, 60) <= delay <= min(20 * 2**number, 60), delays


def test_no_retry_when_the_task_says_so(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 2
    begin(lab, made)
    lab.end("a", Outcome.OUTCOME_FAILED_NO_RETRY)
    assert lab.run_state() == "failed"


def test_retry_time_of_the_report_wins(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 1
    begin(lab, made)
    lab.end("a", FAILED, retry_time=times.to_timestamp(lab.now + 7 * times.SECOND))
    lab.at(6)
    assert lab.ordered() == []
    lab.at(7)
    assert lab.ordered() == ["a"]


@pytest.mark.parametrize(
    ("outcome", "free"),
    [
        (Outcome.OUTCOME_LOST, 3),
        (Outcome.OUTCOME_LAUNCH_FAILED, 3),
        (Outcome.OUTCOME_IMAGE_PULL_FAILED, 3),
        (Outcome.OUTCOME_EVICTED, 5),
        (Outcome.OUTCOME_NODE_LOST, 5),
        (Outcome.OUTCOME_PREEMPTED, 10),
    ],
)
def test_infrastructure_failures_do_not_use_up_retries(lab, outcome: int, free: int) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    for number in range(1, free + 1):
        assert lab.order("a").try_key.try_number == number
        lab.end("a", outcome)
        lab.at(400 * number)
    # One more is too many: the task has no retries of its own.
    lab.end("a", outcome)
    assert lab.run_state() == "failed"
    assert [record.try_number for record in lab.executions] == list(range(1, free + 2))


@pytest.mark.parametrize("outcome", [Outcome.OUTCOME_OUT_OF_MEMORY, Outcome.OUTCOME_CONFIG_ERROR])
def test_ends_by_the_task_itself_use_up_its_retries(lab, outcome: int) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    lab.end("a", outcome)
    assert lab.run_state() == "failed"


def test_free_tries_of_several_kinds_are_bounded_together(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    for number in range(1, 4):
        lab.end("a", Outcome.OUTCOME_EVICTED)
        lab.at(400 * number)
    lab.end("a", Outcome.OUTCOME_LOST)
    assert lab.run_state() == "failed"


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
