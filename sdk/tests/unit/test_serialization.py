"""DAG → definition."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from spinner import DAG, BashOperator, EmptyOperator, Label, TaskGroup, Tier, setup, task, task_group, teardown
from spinner.core.resources import escalations, normalized, problems
from spinner.sensors import TimeSensor
from spinner.serialization import content_version, dag_to_definition, load_dag_file
from spinner.serialization.resources import resources_of
from spinner.timetables import (
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    EventsTimetable,
    MultipleCronTriggerTimetable,
)
from spinner_proto.definitions.v1 import definitions_pb2 as pb

BERLIN = ZoneInfo("Europe/Berlin")
NEEDED = {
    "tier": Tier.TIER2,
    "access_control": {"team": {"can_dag_read"}},
    "start_date": datetime(2026, 1, 1, tzinfo=BERLIN),
}


def tasks_of(made: DAG) -> dict[str, pb.TaskDefinition]:
    return {item.task_id: item for item in dag_to_definition(made).tasks}


def schedule_of(schedule) -> pb.Schedule:
    return dag_to_definition(DAG("d", schedule=schedule, **NEEDED)).schedule


@pytest.mark.parametrize(
    ("written", "expression"),
    [("@daily", "0 0 * * *"), ("@hourly", "0 * * * *"), ("5 4 * * 1-5", "5 4 * * 1-5"), ("@quarterly", "0 0 1 */3 *")],
)
def test_cron_strings_have_intervals_and_the_zone_of_start_date(written, expression):
    schedule = schedule_of(written)
    assert list(schedule.cron.expressions) == [expression]
    assert (schedule.cron.timezone, schedule.cron.run_at_tick, schedule.text) == ("Europe/Berlin", False, written)


def test_other_schedules():
    assert schedule_of(None).WhichOneof("kind") == "none"
    assert schedule_of("@once").WhichOneof("kind") == "once"
    assert schedule_of("@continuous").WhichOneof("kind") == "continuous"
    delta = schedule_of(timedelta(hours=25)).delta
    assert (delta.period.ToTimedelta(), delta.run_at_tick) == (timedelta(hours=25), False)
    assert schedule_of(DeltaTriggerTimetable(timedelta(minutes=1))).delta.run_at_tick
    at_tick = schedule_of(CronTriggerTimetable("0 6 * * *", timezone="UTC", interval=timedelta(days=1))).cron
    assert (at_tick.run_at_tick, at_tick.timezone, at_tick.interval.ToTimedelta()) == (True, "UTC", timedelta(days=1))
    assert len(schedule_of(MultipleCronTriggerTimetable("@daily", "@hourly", timezone=BERLIN)).cron.expressions) == 2
    events = schedule_of(EventsTimetable([datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)])).explicit
    assert [item.run_after.ToJsonString() for item in events.intervals] == [
        "2026-04-01T00:00:00Z",
        "2026-05-01T00:00:00Z",
    ]


def test_relativedelta_has_months():
    from dateutil.relativedelta import relativedelta

    delta = schedule_of(relativedelta(months=1, years=1, days=2)).delta
    assert (delta.months, delta.period.ToTimedelta()) == (13, timedelta(days=2))


def test_upstreams_stand_below_and_order_is_that_of_the_file():
    with DAG("d", **NEEDED) as made:
        z, y, x, w = (EmptyOperator(task_id=name) for name in "zyxw")
        w >> z
        x >> y
    items = dag_to_definition(made).tasks
    assert [item.task_id for item in items] == ["x", "y", "w", "z"]
    assert all(up < position for position, item in enumerate(items) for up in item.upstream)


def test_facts_of_a_task():
    with DAG("d", dagrun_timeout=timedelta(hours=2), fail_fast=True, **NEEDED) as made:
        BashOperator(
            task_id="t", bash_command="echo {{ ds }}", retries=4, retry_delay=timedelta(seconds=3),
            retry_exponential_backoff=1.5, max_retry_delay=timedelta(minutes=1), execution_timeout=timedelta(minutes=9),
            pool="p", pool_slots=2, priority_weight=5, weight_rule="absolute", queue="q", wait_for_downstream=True,
            max_active_tis_per_dag=3, trigger_rule="one_failed", doc_md="doc", owner="ann", env={"A": "{{ ts }}"},
            executor_config={"KubernetesExecutor": {"limit_memory": "1Gi"}}, outlets=["s3://x"],
            on_failure_callback=print,
        )  # fmt: skip
    item = tasks_of(made)["t"]
    assert item.operator == "BashOperator"
    assert (item.retries, item.retry_delay.seconds, item.retry_backoff_factor) == (4, 3, 1.5)
    assert (item.max_retry_delay.seconds, item.execution_timeout.seconds) == (60, 540)
    assert (item.pool, item.pool_slots, item.priority_weight, item.queue) == ("p", 2, 5, "q")
    assert item.weight_rule == pb.WEIGHT_RULE_ABSOLUTE
    assert item.trigger_rule == pb.TRIGGER_RULE_ONE_FAILED
    assert item.depends_on_past and item.wait_for_downstream and item.has_callbacks and item.fail_stop
    assert json.loads(item.resources_json) == {"limit_memory": "1Gi"}
    assert json.loads(item.template_fields_json) == {"bash_command": "echo {{ ds }}", "env": {"A": "{{ ts }}"}}
    assert list(item.outlets) == ["s3://x"]
    assert dag_to_definition(made).dagrun_timeout.seconds == 7200


def test_only_plain_empty_tasks_are_inline():
    with DAG("d", **NEEDED) as made:
        EmptyOperator(task_id="plain")
        EmptyOperator(task_id="calls", on_success_callback=print)
        EmptyOperator(task_id="asset", outlets=["a"])
        BashOperator(task_id="bash", bash_command="true")
    assert [item.task_id for item in tasks_of(made).values() if item.inline_success] == ["plain"]


def test_lengths_of_expansions():
    with DAG("d", **NEEDED) as made:

        @task
        def a(): ...

        @task
        def b(): ...

        @task
        def f(x, y=None): ...

        @task
        def last(xs): ...

        mapped = f.partial(y=1).expand(x=a())
        f.override(task_id="product").expand(x=[1, 2, 3], y={"k": 1})
        f.override(task_id="zipped").expand(x=made.get_task("a").output.zip(b()))
        f.override(task_id="longest").expand(x=made.get_task("a").output.zip(made.get_task("b").output, fillvalue=0))
        f.override(task_id="joined").expand_kwargs(made.get_task("b").output.concat(mapped).map(str))
        last(mapped)
    items = tasks_of(made)
    position = {task_id: number for number, task_id in enumerate(items)}
    of_a, of_b = pb.MapLength(task=position["a"]), pb.MapLength(task=position["b"])
    assert items["f"].map_length == of_a
    assert [item.literal for item in items["product"].map_length.product.items] == [3, 1]
    assert list(items["zipped"].map_length.zip_shortest.items) == [of_a, of_b]
    assert list(items["longest"].map_length.zip_longest.items) == [of_a, of_b]
    assert list(items["joined"].map_length.concat.items) == [of_b, pb.MapLength(task=position["f"])]
    assert {task_id for task_id, item in items.items() if item.reports_length} == {"a", "b"}
    assert not items["last"].HasField("map_length")


def test_groups():
    with DAG("d", **NEEDED) as made:
        with TaskGroup("g", tooltip="tip"), TaskGroup("h"):
            EmptyOperator(task_id="t")

        @task_group
        def m(x):
            @task
            def inner(y): ...

            inner(x)

        m.expand(x=[1, 2])
    definition = dag_to_definition(made)
    groups = {group.group_id: group for group in definition.task_groups}
    assert (groups["g"].tooltip, groups["g.h"].parent_id, groups["m"].map_length.literal) == ("tip", "g", 2)
    items = {item.task_id: item for item in definition.tasks}
    assert items["g.h.t"].group_id == "g.h"
    # A task of a mapped group has the group's length itself.
    assert items["m.inner"].map_length.literal == 2


def test_setups_of_a_teardown_and_labels():
    with DAG("d", **NEEDED) as made:

        @setup
        def begin(): ...

        @teardown(on_failure_fail_dagrun=True)
        def end(): ...

        start = begin()
        start >> Label("go") >> BashOperator(task_id="work", bash_command="true") >> end().as_teardown(setups=start)
    definition = dag_to_definition(made)
    items = {item.task_id: item for item in definition.tasks}
    assert [definition.tasks[position].task_id for position in items["end"].setups] == ["begin"]
    assert items["end"].on_failure_fail_dagrun and items["begin"].is_setup
    assert [(label.upstream_id, label.downstream_id, label.label) for label in definition.edge_labels] == [
        ("begin", "work", "go")
    ]


def test_sensors_and_branches_are_marked():
    with DAG("d", **NEEDED) as made:
        TimeSensor(task_id="s", target_time=time(6))

        @task.branch
        def choose(): ...

        choose()
    items = tasks_of(made)
    assert items["s"].is_sensor and not items["s"].is_branch
    assert items["choose"].is_branch and items["choose"].operator == "@task.branch"


def test_version_is_of_the_content():
    with DAG("d", **NEEDED) as made:
        EmptyOperator(task_id="t")
    definition = dag_to_definition(made)
    version = content_version(definition)
    definition.version = "x"
    definition.parsed_time.GetCurrentTime()
    definition.bundle.version = "other"
    with_bundle = content_version(definition)
    definition.bundle.version = "another"
    assert len(version) == 16 and content_version(definition) == with_bundle
    definition.tasks[0].retries = 9
    assert content_version(definition) != with_bundle


SOURCE = """
from datetime import datetime, UTC
from spinner import *
class Thing: pass
with DAG("d", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), tier=1, tags=["b", "a", "c"],
         access_control={"y": {"can_dag_read", "can_dag_edit"}, "x": {"can_dag_read"}},
         default_args={"owner": "o", "on_failure_callback": print, "thing": Thing()}) as dag:
    ends = [EmptyOperator(task_id=f"t{n}") for n in range(20)]
    BashOperator(task_id="first", bash_command="x", env={"s": {"q", "p"}}) >> ends
"""


def test_the_same_file_gives_the_same_version_in_every_process(tmp_path: Path):
    (tmp_path / "d.py").write_text(SOURCE)
    program = (
        "from spinner.serialization import *; import sys;"
        "print(content_version(dag_to_definition(load_dag_file(sys.argv[1], 'd.py').dags['d'])))"
    )
    versions = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(versions) == 1


def test_dags_are_found_as_globals_and_when_entered_in_functions(tmp_path: Path):
    body = SOURCE.replace('with DAG("d"', "def make(name):\n  with DAG(name").replace("\n    ", "\n      ")
    (tmp_path / "d.py").write_text(body + 'make("one")\nmake("two")\n')
    assert list(load_dag_file(tmp_path, "d.py").dags) == ["one", "two"]


def test_a_dag_of_an_imported_module_is_not_found_twice(tmp_path: Path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "other_dag_module.py").write_text(SOURCE)
    (tmp_path / "e.py").write_text("import other_dag_module\n")
    assert load_dag_file(tmp_path, "e.py").dags == {}


def test_importing_spinner_stays_light():
    program = (
        "import sys, spinner; from spinner import DAG, PythonOperator, task;"
        "heavy = {'jinja2', 'google.protobuf', 'asyncio', 'dateutil', 'grpc', 'subprocess', 'socket'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_executor_config_in_airflows_form_becomes_data():
    from kubernetes_asyncio.client import models as k8s

    override = k8s.V1Pod(
        spec=k8s.V1PodSpec(
            containers=[k8s.V1Container(name="base", env=[k8s.V1EnvVar(name="A", value="1")])],
            node_selector={"disk": "fast"},
        )
    )
    found = resources_of({"KubernetesExecutor": {"limit_memory": "1Gi"}, "pod_override": override})
    assert found == {
        "limit_memory": "1Gi",
        "pod_override": {
            "spec": {
                "containers": [{"name": "base", "env": [{"name": "A", "value": "1"}]}],
                "nodeSelector": {"disk": "fast"},
            }
        },
    }


def test_everything_that_a_task_may_ask_is_known_by_name():
    asked = {
        "request_memory": "1Gi", "limit_cpu": 2, "image": "company/etl:1", "env": {"A": "1"}, "packages": ["pandas"],
        "requirements": "requirements.txt", "node_selector": {"disk": "fast"}, "tolerations": [{"key": "gpu"}],
        "volumes": [{"name": "v", "emptyDir": {}}], "service_account_name": "etl", "pod_override": {"spec": {}},
    }  # fmt: skip
    assert list(problems(asked)) == [] and list(escalations(asked)) == []
    assert normalized(asked)["service_account"] == "etl"
