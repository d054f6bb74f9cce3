"""Assets, deadlines, retry policies, weights and custom timetables as data (B1, B2, B7, B8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from spinner import (
    DAG,
    Asset,
    AssetAlias,
    AssetOrTimeSchedule,
    DeadlineAlert,
    DeadlineReference,
    EmptyOperator,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    SpinnerDagError,
    SyncCallback,
    Tier,
)
from spinner.core.deadlines import deadlines_of
from spinner.serialization import content_version, dag_to_definition, evaluate
from spinner.timetables import CronTriggerTimetable, DagRunInfo, DeltaTriggerTimetable, Timetable
from spinner_proto.definitions.v1 import definitions_pb2 as pb

NEEDED = {"tier": Tier.TIER2, "access_control": {"team": {"can_dag_read"}}}
START = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = Asset("a"), Asset("b", "s3://bucket/b"), Asset(uri="s3://bucket/c")


def schedule_of(schedule, **kwargs) -> pb.Schedule:
    return dag_to_definition(DAG("d", schedule=schedule, **NEEDED, **kwargs)).schedule


def text(expression: pb.AssetExpression) -> str:
    kind = expression.WhichOneof("kind")
    if kind == "asset":
        return expression.asset
    if kind == "alias":
        return f"alias {expression.alias}"
    inner = (" & " if kind == "all" else " | ").join(text(item) for item in getattr(expression, kind).items)
    return f"({inner})"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (A, "a"),
        ([A, B], "(a & b)"),
        (A & B & C, "(a & b & s3://bucket/c)"),
        (A | (B & C), "(a | (b & s3://bucket/c))"),
        ((A | B) & AssetAlias("x"), "((a | b) & alias x)"),
    ],
)
def test_a_schedule_of_assets_is_an_expression(schedule, expected):
    assert text(schedule_of(schedule).assets.expression) == expected


def test_assets_or_time():
    schedule = schedule_of(
        AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 6 * * *", timezone="UTC"), assets=[A]), start_date=START
    )
    assert schedule.assets.or_time.cron.expressions == ["0 6 * * *"]
    assert text(schedule.assets.expression) == "(a)"
    with pytest.raises(SpinnerDagError, match="no start_date"):
        schedule_of(AssetOrTimeSchedule(timetable="@daily", assets=[A]))


def test_an_asset_may_have_to_be_fresh():
    with DAG("d", schedule=None, **NEEDED) as made:
        EmptyOperator(task_id="t", outlets=[Asset("x", freshness=timedelta(hours=6)), B])
    x, b = sorted(dag_to_definition(made).assets, key=lambda item: item.name != "x")
    assert x.freshness.ToTimedelta() == timedelta(hours=6) and not b.HasField("freshness")
    with pytest.raises(SpinnerDagError, match="freshness"):
        Asset("x", freshness=timedelta())


def test_a_definition_lists_its_assets_and_who_makes_them():
    with DAG("d", schedule=[A], **NEEDED) as made:
        EmptyOperator(task_id="t", inlets=[A], outlets=[B, AssetAlias("x"), "plain"])
    definition = dag_to_definition(made)
    assert [(item.name, item.uri, item.alias) for item in definition.assets] == [
        ("a", "a", False),
        ("b", "s3://bucket/b", False),
        ("plain", "plain", False),
        ("x", "", True),
    ]
    task = definition.tasks[0]
    assert (task.inlets, task.outlets, task.outlet_aliases) == (["a"], ["b", "plain"], ["x"])


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 1501, None])
def test_names_of_assets_are_checked(name):
    with pytest.raises(SpinnerDagError, match="name of an asset"):
        Asset(name)


# -- deadlines ---------------------------------------------------------------------------------------------------


def late(context):
    return context


def test_deadlines_of_runs_and_tasks_have_names_of_their_own():
    with DAG(
        "d",
        deadline=[
            DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), late),
            DeadlineAlert(DeadlineReference.AVERAGE_RUNTIME(5), timedelta(minutes=1), SyncCallback("a.b")),
        ],
        **NEEDED,
    ) as made:
        at = datetime(2026, 5, 1, tzinfo=UTC)
        EmptyOperator(
            task_id="t",
            deadline=DeadlineAlert(DeadlineReference.FIXED_DATETIME(at), timedelta(hours=-1), on_prediction=True),
        )
    deadlines = dag_to_definition(made).deadlines
    assert [(item.name, item.task_id, item.has_callback) for item in deadlines] == [
        ("run", "", True),
        ("run 2", "", True),
        ("t", "t", False),
    ]
    assert deadlines[0].reference == pb.DEADLINE_REFERENCE_QUEUED_TIME
    assert (deadlines[0].interval.seconds, deadlines[0].callback) == (3600, "late")
    assert (deadlines[1].max_runs, deadlines[1].min_runs, deadlines[1].callback) == (5, 5, "a.b")
    assert deadlines[2].fixed_time.ToDatetime(tzinfo=UTC) == at
    assert deadlines[2].interval.ToTimedelta() == timedelta(hours=-1)
    assert deadlines[2].callback_on_prediction
    assert [(name, task_id) for name, task_id, _ in deadlines_of(made)] == [("run", ""), ("run 2", ""), ("t", "t")]


def test_callbacks_get_their_arguments_and_coroutines_are_awaited():
    seen = []

    async def tell(text, context):
        seen.append((text, context["run_id"]))

    class Notifier:
        def __init__(self, text):
            self.text = text

        def __call__(self, context):
            seen.append((self.text, context["run_id"]))

    SyncCallback(tell, {"text": "a"})({"run_id": "r"})
    SyncCallback(Notifier, {"text": "b"})({"run_id": "r"})
    assert seen == [("a", "r"), ("b", "r")]


@pytest.mark.parametrize(
    "make",
    [
        lambda: DAG("d", deadline="soon", **NEEDED),
        lambda: DeadlineAlert("queued", timedelta(1)),
        lambda: DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, 5),
        lambda: DeadlineReference.AVERAGE_RUNTIME(40),
    ],
)
def test_wrong_deadlines_are_refused(make):
    with pytest.raises(SpinnerDagError, match="has"):
        make()


# -- retries and weights -----------------------------------------------------------------------------------------


def test_retry_policies_are_data():
    policy = ExceptionRetryPolicy(
        [
            RetryRule(ConnectionError, RetryAction.RETRY, timedelta(seconds=9), "rate limit", retries=7),
            RetryRule(["acme.Bad", ValueError], RetryAction.FAIL, match_subclasses=False),
            RetryRule(KeyError, RetryAction.DEFAULT),
        ]
    )
    with DAG("d", **NEEDED) as made:
        EmptyOperator(task_id="t", retry_policy=policy, retry_jitter=0.25, queued_timeout=timedelta(minutes=5))
    task = dag_to_definition(made).tasks[0]
    first, second, third = task.retry_rules
    assert (first.exceptions, first.delay.seconds, first.retries, first.reason) == (
        ["ConnectionError"],
        9,
        7,
        "rate limit",
    )
    assert (second.exceptions, second.action, second.exact) == (["acme.Bad", "ValueError"], pb.RETRY_ACTION_FAIL, True)
    assert (third.action, third.HasField("delay"), third.HasField("retries")) == (pb.RETRY_ACTION_RETRY, False, False)
    assert (task.retry_jitter, task.queued_timeout.seconds) == (0.25, 300)
    assert policy.rule_for(BrokenPipeError()) is policy.rules[0]
    assert policy.rule_for(UnicodeError()) is None


def test_a_weight_strategy_is_asked_for_each_try():
    class Later:
        def get_weight(self, ti):
            return 10 * ti.try_number

    with DAG("d", **NEEDED) as made:
        EmptyOperator(task_id="t", weight_rule=Later(), retries=2)
    task = dag_to_definition(made).tasks[0]
    assert (task.weight_rule, task.custom_weights) == (pb.WEIGHT_RULE_CUSTOM, [10, 20, 30])


# -- custom timetables -------------------------------------------------------------------------------------------


class EveryOtherHour(Timetable):
    summary = "every other hour"

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        start = restriction.earliest if last_automated_data_interval is None else last_automated_data_interval.end
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start, start + timedelta(hours=2))


def test_a_custom_timetable_is_asked_ahead_of_time():
    made = DAG("d", schedule=EveryOtherHour(), start_date=START, catchup=True, **NEEDED)
    schedule = dag_to_definition(made).schedule
    assert (schedule.explicit.evaluated, len(schedule.explicit.intervals)) == (True, 0)
    assert schedule.text == "every other hour"
    now = START + timedelta(days=10)
    intervals, complete = evaluate(made, now)
    assert not complete
    assert intervals[0].start.ToDatetime(tzinfo=UTC) == START
    assert intervals[-1].run_after.ToDatetime(tzinfo=UTC) >= now + timedelta(days=30)
    assert all(one.end == other.start for one, other in pairwise(intervals))


def test_without_catchup_only_the_last_of_the_past_is_told_and_an_end_is_an_end():
    end = START + timedelta(days=20)
    made = DAG("d", schedule=EveryOtherHour(), start_date=START, end_date=end, **NEEDED)
    intervals, complete = evaluate(made, START + timedelta(days=19))
    assert complete
    assert len(intervals) == 3 + 13


def test_a_timetable_that_does_not_go_on_is_refused():
    class Stuck(Timetable):
        def next_dagrun_info(self, *, last_automated_data_interval, restriction):
            return DagRunInfo.interval(START, START + timedelta(hours=1))

    with pytest.raises(SpinnerDagError, match="not later"):
        evaluate(DAG("d", schedule=Stuck(), start_date=START, **NEEDED), START)


def test_the_version_does_not_depend_on_when_it_is_asked():
    made = DAG("d", schedule=EveryOtherHour(), start_date=START, **NEEDED)
    assert content_version(dag_to_definition(made)) == content_version(dag_to_definition(made))


def test_a_period_at_its_tick_has_the_interval_that_it_is_given():
    delta = schedule_of(
        DeltaTriggerTimetable(timedelta(hours=1), interval=timedelta(minutes=5)), start_date=START
    ).delta
    assert (delta.period.seconds, delta.interval.seconds, delta.HasField("interval")) == (3600, 300, True)
