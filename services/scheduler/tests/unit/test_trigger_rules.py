"""All trigger rules against an oracle that reads states one by one (B2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spinner_scheduler.domain import trigger_rules as rules
from spinner_scheduler.domain.states import FAILED, NONE, RUNNING, SKIPPED, SUCCESS, UPSTREAM_FAILED
from spinner_scheduler.domain.trigger_rules import READY, WAIT, verdict

STATES = [NONE, RUNNING, SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED]


def oracle(rule: int, states: list[int]) -> int:
    """Slow and obvious: what Airflow's documentation says of each rule."""
    if not states:
        return READY
    finished = [s for s in states if s in (SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED)]
    everything_finished = len(finished) == len(states)
    some_bad = any(s in (FAILED, UPSTREAM_FAILED) for s in states)
    some_skipped = any(s == SKIPPED for s in states)
    some_success = any(s == SUCCESS for s in states)
    all_skipped = all(s == SKIPPED for s in states)
    if rule == rules.ALWAYS:
        return READY
    if rule == rules.ALL_SUCCESS:
        if some_bad:
            return UPSTREAM_FAILED
        if some_skipped:
            return SKIPPED
        return READY if everything_finished else WAIT
    if rule == rules.ALL_FAILED:
        if some_success or some_skipped:
            return SKIPPED
        return READY if everything_finished else WAIT
    if rule == rules.ALL_DONE:
        return READY if everything_finished else WAIT
    if rule == rules.ALL_DONE_SETUP_SUCCESS:
        return READY if everything_finished else WAIT
    if rule == rules.ALL_DONE_MIN_ONE_SUCCESS:
        if not everything_finished:
            return WAIT
        if some_success:
            return READY
        return SKIPPED if all_skipped else UPSTREAM_FAILED
    if rule == rules.ALL_SKIPPED:
        if some_success or some_bad:
            return SKIPPED
        return READY if everything_finished else WAIT
    if rule == rules.ONE_SUCCESS:
        if some_success:
            return READY
        if not everything_finished:
            return WAIT
        return SKIPPED if all_skipped else UPSTREAM_FAILED
    if rule == rules.ONE_FAILED:
        if some_bad:
            return READY
        return SKIPPED if everything_finished else WAIT
    if rule == rules.ONE_DONE:
        if any(s in (SUCCESS, FAILED) for s in states):
            return READY
        return SKIPPED if everything_finished else WAIT
    if rule == rules.NONE_FAILED:
        if some_bad:
            return UPSTREAM_FAILED
        return READY if everything_finished else WAIT
    if rule == rules.NONE_FAILED_MIN_ONE_SUCCESS:
        if some_bad:
            return UPSTREAM_FAILED
        if all_skipped:
            return SKIPPED
        return READY if everything_finished else WAIT
    assert rule == rules.NONE_SKIPPED
    if some_skipped:
        return SKIPPED
    return READY if everything_finished else WAIT


def counted(rule: int, states: list[int]) -> int:
    return verdict(
        rule,
        len(states),
        states.count(SUCCESS),
        states.count(FAILED),
        states.count(SKIPPED),
        states.count(UPSTREAM_FAILED),
    )


RULES = [
    rules.ALL_SUCCESS, rules.ALL_FAILED, rules.ALL_DONE, rules.ALL_DONE_SETUP_SUCCESS, rules.ALL_DONE_MIN_ONE_SUCCESS,
    rules.ALL_SKIPPED, rules.ONE_SUCCESS, rules.ONE_FAILED, rules.ONE_DONE, rules.NONE_FAILED,
    rules.NONE_FAILED_MIN_ONE_SUCCESS, rules.NONE_SKIPPED, rules.ALWAYS,
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@given(states=st.lists(st.sampled_from(STATES), max_size=7))
@settings(max_examples=150, deadline=None)
def test_rule_equals_oracle(rule: int, states: list[int]) -> None:
    assert counted(rule, states) == oracle(rule, states)


def test_there_are_thirteen() -> None:
    assert len(set(RULES)) == 13


@pytest.mark.parametrize(
    ("states", "setups", "expected"),
    [
        ([SUCCESS, FAILED], [SUCCESS], READY),
        ([SUCCESS, RUNNING], [SUCCESS], WAIT),
        ([SKIPPED, SUCCESS], [SKIPPED], SKIPPED),
        ([FAILED, UPSTREAM_FAILED], [FAILED], UPSTREAM_FAILED),
        ([FAILED, SUCCESS], [FAILED, SUCCESS], READY),
    ],
)
def test_teardown_follows_its_setups(states: list[int], setups: list[int], expected: int) -> None:
    found = verdict(
        rules.ALL_DONE_SETUP_SUCCESS,
        len(states),
        states.count(SUCCESS),
        states.count(FAILED),
        states.count(SKIPPED),
        states.count(UPSTREAM_FAILED),
        len(setups),
        setups.count(SUCCESS),
        setups.count(SKIPPED),
    )
    assert found == expected


def test_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="trigger rule 99"):
        verdict(99, 1, 1, 0, 0, 0)
