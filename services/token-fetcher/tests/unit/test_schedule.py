"""Legacy schedules: periods from a reference."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spinner_token_fetcher.domain.graph import WorkflowInvalidError
from spinner_token_fetcher.domain.schedule import next_run, policy_of, recurrence_of, reference_of

REFERENCE = datetime(2015, 2, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2014, 1, 1, tzinfo=UTC), REFERENCE),
        (REFERENCE, REFERENCE + timedelta(hours=25)),
        (REFERENCE + timedelta(hours=25, seconds=-1), REFERENCE + timedelta(hours=25)),
        (REFERENCE + timedelta(hours=50), REFERENCE + timedelta(hours=75)),
    ],
)
def test_next_run_is_the_first_after_now(now, expected):
    assert next_run(REFERENCE, timedelta(hours=25), now) == expected


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2015, 3, 1)),
)
def test_runs_are_one_recurrence_apart_whatever_the_moment(recurrence, now):
    """I3: nothing is missed and nothing doubled around a switch at any time."""
    following = next_run(REFERENCE, recurrence, now)
    assert now < following <= now + recurrence
    assert (following - REFERENCE) % recurrence == timedelta()
    assert next_run(REFERENCE, recurrence, following) == following + recurrence


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(days=7), timedelta(days=7)),
        ("2H", timedelta(hours=2)),
        ("1.5 days", timedelta(hours=36)),
        (90, timedelta(seconds=90)),
    ],
)
def test_recurrences_are_timedeltas_or_text(value, expected):
    assert recurrence_of(value, "w") == expected


@pytest.mark.parametrize("value", [timedelta(), timedelta(-1), "often", None, True, "0H"])
def test_a_recurrence_that_never_comes_is_refused(value):
    with pytest.raises(WorkflowInvalidError, match="recurrence"):
        recurrence_of(value, "w")


def test_references_are_utc():
    assert reference_of(datetime(2015, 2, 1, second=1), None, None, "w") == REFERENCE
    assert reference_of(None, "00.30.01", "2015-02-01", "w") == REFERENCE + timedelta(minutes=30)
    with pytest.raises(WorkflowInvalidError, match="reference"):
        reference_of(None, None, None, "w")


def test_overrun_policies_are_numbered_as_in_pinball():
    assert [policy_of(number, "w") for number in range(5)] == [
        "SKIP",
        "ABORT_RUNNING",
        "DELAY",
        "DELAY_UNTIL_SUCCESS",
        "START_NEW",
    ]
    assert policy_of(None, "w") == "SKIP"
    assert policy_of("delay", "w") == "DELAY"
    with pytest.raises(WorkflowInvalidError, match="overrun"):
        policy_of("NEVER", "w")
