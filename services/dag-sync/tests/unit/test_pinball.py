"""Legacy workflows as definitions."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from spinner_dag_sync.domain.config import Bundle
from spinner_dag_sync.domain.pinball import definition_of
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.tokenfetcher.v1 import tokenfetcher_pb2 as tf

BUNDLE = Bundle(
    name="old", kind="pinball", repository="r", tier=2, access_control={"team": ["can_dag_read"]}, owner="data"
)


def specification(policy="SKIP"):
    made = tf.WorkflowSpecification(workflow_name="reports", notify_emails=["b@x.org", "a@x.org"], version="v")
    made.jobs.add(name="extract", command="run extract", max_attempts=3, template="JobTemplate")
    made.jobs[0].retry_delay.FromTimedelta(timedelta(minutes=20))
    made.jobs[0].abort_timeout.FromTimedelta(timedelta(hours=2))
    made.jobs.add(name="final", inputs=["extract"], command="echo done", max_attempts=1, kind="final")
    made.schedule.recurrence.FromTimedelta(timedelta(hours=25))
    made.schedule.reference_time.FromDatetime(datetime(2015, 2, 1, 0, 0, 1))
    made.schedule.overrun_policy, made.schedule.max_running_instances = policy, 3
    return made


def test_jobs_become_tasks_with_commands_retries_and_absolute_weights():
    made = definition_of(specification(), {"extract": 6.6, "final": 1.0}, BUNDLE)
    extract, final = made.tasks
    assert (extract.command, extract.retries, extract.priority_weight) == ("run extract", 2, 7)
    assert extract.weight_rule == pb.WEIGHT_RULE_ABSOLUTE
    assert extract.retry_delay.ToTimedelta() == timedelta(minutes=20)
    assert extract.execution_timeout.ToTimedelta() == timedelta(hours=2)
    assert (list(final.upstream), final.retries) == ([0], 0)
    assert (made.runtime, made.tier, made.owner, list(made.role_emails)) == (
        "pinball",
        2,
        "data",
        ["a@x.org", "b@x.org"],
    )


def test_ticks_stay_at_the_legacy_reference():
    """I3: period and reference are the legacy ones, to the second."""
    schedule = definition_of(specification(), {}, BUNDLE).schedule
    assert schedule.delta.run_at_tick
    assert schedule.delta.period.ToTimedelta() == timedelta(hours=25)
    assert schedule.delta.reference_time.ToDatetime(UTC) == datetime(2015, 2, 1, 0, 0, 1, tzinfo=UTC)
    assert schedule.text == "every 25 hours from 2015-02-01 00:00:01 UTC"


def test_the_limit_of_running_instances_is_one_more_as_in_pinball():
    assert definition_of(specification("START_NEW"), {}, BUNDLE).max_active_runs == 4
    assert definition_of(specification("SKIP"), {}, BUNDLE).max_active_runs == 1


def test_a_start_date_of_the_bundle_decides_when_runs_begin():
    start = datetime(2026, 5, 1, tzinfo=UTC)
    made = definition_of(specification(), {}, BUNDLE.model_copy(update={"start_date": start}))
    assert made.start_date.ToDatetime(UTC) == start


def test_jobs_ask_for_what_the_bundle_says_such_as_their_legacy_image():
    asked = {"legacy_image": "company/legacy:7", "limit_memory": "4Gi"}
    made = definition_of(specification(), {}, BUNDLE.model_copy(update={"resources": asked}))
    assert [json.loads(task.resources_json) for task in made.tasks] == [asked, asked]
    with pytest.raises(ValueError, match="memry is not known"):
        Bundle(**{**BUNDLE.model_dump(), "resources": {"memry": "4Gi"}})
