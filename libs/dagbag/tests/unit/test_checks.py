"""A8: what each check finds, and that a repository may switch it."""

import ast
import json
from datetime import UTC, datetime, timedelta

import pytest
from spinner_dagbag.checks import CheckConfig, CheckConfigError, Severity, all_checks, check_definition, check_source
from spinner_dagbag.checks.model import DagSubject, ParseEvent, SourceSubject
from spinner_proto.definitions.v1 import definitions_pb2 as pb

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def definition(**changes):
    """A definition without findings."""
    made = pb.DagDefinition(
        dag_id="good",
        tier=1,
        owner="data",
        description="does good",
        role_emails=["data@example.com"],
        access_control=[pb.AccessGrant(role="data", permissions=["can_dag_read"])],
        tasks=[pb.TaskDefinition(task_id="one"), pb.TaskDefinition(task_id="two", upstream=[0])],
    )
    made.start_date.FromDatetime(datetime(2026, 1, 1))
    made.dagrun_timeout.FromTimedelta(timedelta(hours=2))
    made.schedule.cron.expressions.append("0 6 * * *")
    made.schedule.cron.timezone = "Europe/Berlin"
    for name, value in changes.items():
        made.ClearField(name)
        if value is not None:
            made.MergeFrom(pb.DagDefinition(**{name: value}))
    return made


def found(made, path="dags/x.py", config=None, **known):
    return {
        finding.check_id for finding in check_definition(DagSubject(made, path, NOW, **known), config or CheckConfig())
    }


def task(**fields):
    return [pb.TaskDefinition(task_id="one", **fields)]


def seconds(count):
    return {"seconds": count}


def cron(*expressions, zone="UTC"):
    return pb.Schedule(cron=pb.CronSchedule(expressions=expressions, timezone=zone))


def resources(**given):
    return task(resources_json=json.dumps(given))


def test_a_good_definition_has_no_findings():
    assert not found(definition())


@pytest.mark.parametrize(
    ("check_id", "changes"),
    [
        ("SPN001", {"tier": None}),
        ("SPN002", {"access_control": None}),
        ("SPN003", {"access_control": [pb.AccessGrant(role="r", permissions=["can_fly"])]}),
        ("SPN004", {"dag_id": "no spaces"}),
        ("SPN005", {"tasks": [pb.TaskDefinition(task_id="a"), pb.TaskDefinition(task_id="a")]}),
        ("SPN005", {"tasks": [*task(), pb.TaskDefinition(task_id="no/slash")]}),
        (
            "SPN006",
            {"tasks": [pb.TaskDefinition(task_id="a", upstream=[1]), pb.TaskDefinition(task_id="b", upstream=[0])]},
        ),
        ("SPN009", {"tasks": resources(request_memory="1Ti")}),
        ("SPN009", {"tasks": resources(request_cpu="100")}),
        ("SPN009", {"tasks": resources(request_memory="much")}),
        ("SPN009", {"tasks": resources(request_memory="2Gi", limit_memory="1Gi")}),
        ("SPN010", {"tasks": [pb.TaskDefinition(task_id="__layout__")]}),
        ("SPN011", {"start_date": None}),
        ("SPN012", {"start_date": seconds(0)}),
        ("SPN014", {"catchup": True}),
        ("SPN015", {"owner": "airflow"}),
        ("SPN016", {"role_emails": None}),
        ("SPN017", {"description": None}),
        ("SPN018", {"schedule": cron("61 * * * *")}),
        ("SPN018", {"schedule": cron("0 0 31 2 *")}),
        ("SPN018", {"schedule": cron("0 30 2 * * *")}),
        ("SPN018", {"schedule": pb.Schedule(delta=pb.DeltaSchedule())}),
        ("SPN019", {"schedule": cron("*/5 * * * * *")}),
        ("SPN020", {"tasks": task(retries=99)}),
        ("SPN021", {"dagrun_timeout": None}),
        ("SPN022", {"max_active_runs": 500}),
        ("SPN023", {"tasks": [pb.TaskDefinition(task_id=f"t{number}") for number in range(10_001)]}),
        ("SPN025", {"tasks": task(pool_slots=-1)}),
        ("SPN026", {"tasks": task(retries=1, retry_delay=seconds(200_000))}),
        ("SPN028", {"schedule": cron("0 6 * * *", zone="Mars/Base")}),
        ("SPN029", {"end_date": seconds(1_000_000_000)}),
        ("SPN030", {"tasks": task(trigger_rule=pb.TRIGGER_RULE_ALL_FAILED)}),
        ("SPN031", {"tasks": None}),
        ("SPN032", {"tags": ["x" * 200]}),
        ("SPN033", {"tasks": task(execution_timeout=seconds(100_000))}),
        ("SPN009", {"tasks": resources(request_storage="4Ti")}),
        ("SPN037", {"tasks": resources(memory="1Gi")}),
        ("SPN037", {"tasks": resources(tolerations="all")}),
        ("SPN037", {"tasks": resources(env={"SPINNER_TOKEN_FILE": "mine"})}),
        ("SPN037", {"tasks": resources(namespace="kube-system")}),
        ("SPN038", {"tasks": resources(pod_override={"spec": {"hostNetwork": True}})}),
        ("SPN038", {"tasks": resources(volumes=[{"name": "etc", "hostPath": {"path": "/etc"}}])}),
        ("SPN038", {"tasks": resources(pod_override={"spec": {"securityContext": {"runAsUser": 0}}})}),
        (
            "SPN038",
            {"tasks": resources(pod_override={"containers": [{"name": "c", "securityContext": {"privileged": True}}]})},
        ),
        ("SPN034", {"tasks": resources(image="company/etl:latest")}),
        ("SPN035", {"tasks": task(is_sensor=True, external_dag_id="good")}),
        ("SPN036", {"tasks": task(wait_for_downstream=True)}),
    ],
)
def test_each_check_finds_what_it_is_for(check_id, changes):
    assert check_id in found(definition(**changes))


def test_checks_that_need_to_know_more():
    made = definition(tasks=task(pool="etl"))
    assert "SPN024" not in found(made)
    assert "SPN024" in found(made, pools=frozenset({"other"}))
    assert "SPN015" in found(made, owners=frozenset({"growth"}))
    assert "SPN008" in found(made, path="dags/spinner_tier_2_0/team/x.py")
    assert "SPN008" not in found(made, path="dags/spinner_tier_1_0/team/x.py")
    sensor = definition(tasks=task(is_sensor=True), dagrun_timeout=None, tier=3)
    assert "SPN027" in found(sensor)


def test_only_what_must_not_run_is_an_error():
    errors = {check.id for check in all_checks() if check.severity is Severity.ERROR}
    assert errors == {f"SPN{number:03}" for number in (1, 2, 3, 4, 5, 6, 8, 9, 10, 18, 23, 25, 28, 29, 37, 38)}
    assert len(all_checks()) >= 25
    assert all(check.title and check.fix for check in all_checks())


def source(text, events=(), taken=0.1):
    subject = SourceSubject(ast.parse(text), events, taken)
    return {(finding.check_id, finding.line) for finding in check_source(subject, "x.py", CheckConfig())}


@pytest.mark.parametrize(
    ("check_id", "line", "text"),
    [
        ("SPN040", 2, "import requests as r\nr.get('http://x')"),
        ("SPN040", 2, "from urllib.request import urlopen\nurlopen('http://x')"),
        ("SPN041", 2, "from airflow.models import Variable\nx = Variable.get('a')"),
        ("SPN041", 3, "from spinner.models import Variable\nif True:\n  x = [Variable.get('a')]"),
        ("SPN042", 2, "from airflow.hooks.base import BaseHook\nBaseHook.get_connection('a')"),
        ("SPN043", 2, "from hooks import HiveMetastoreHook\nHiveMetastoreHook('m').get_partitions()"),
        ("SPN044", 2, "from time import sleep\nsleep(1)"),
        ("SPN045", 2, "from datetime import datetime, timedelta\nDAG('x', start_date=datetime.now() - timedelta(1))"),
        ("SPN045", 2, "from airflow.utils.dates import days_ago\nargs = {'start_date': days_ago(2)}"),
        ("SPN046", 2, "import subprocess\nsubprocess.run(['ls'])"),
        ("SPN047", 1, "import pandas as pd"),
        ("SPN049", 1, "DB_PASSWORD = 'hunter2!'"),
        ("SPN050", 1, "from helpers import *"),
        ("SPN041", 4, "from x import dag, Variable\n@dag()\ndef made():\n  Variable.get('a')\nmade()"),
        ("SPN044", 2, "import time\ndef f(x=time.sleep(1)): pass"),
    ],
)
def test_top_level_code_is_looked_at_without_running_it(check_id, line, text):
    assert (check_id, line) in source(text)


@pytest.mark.parametrize(
    "text",
    [
        "import requests\ndef task():\n  requests.get('http://x')",
        "from x import task, Variable\n@task\ndef f():\n  Variable.get('a')",
        "import time\nf = lambda: time.sleep(1)",
        "import time\nif __name__ == '__main__':\n  time.sleep(1)",
        "from datetime import datetime\nDAG('x', start_date=datetime(2026, 1, 1))",
        "password = '{{ conn.x.password }}'",
    ],
)
def test_code_that_only_tasks_run_is_fine(text):
    assert not source(text)


def test_what_really_happened_is_found_too():
    events = [
        ParseEvent("connect", 3, "10.0.0.1:9083"),
        ParseEvent("connect", 4, "x:443"),
        ParseEvent("process", 5, "ls"),
    ]
    assert source("", events, taken=9) == {("SPN043", 3), ("SPN040", 4), ("SPN046", 5), ("SPN048", 0)}


def test_a_repository_switches_checks_off_and_changes_severity_and_thresholds():
    content = {"checks": {"SPN014": False, "SPN019": {"severity": "error", "min_interval_seconds": 100_000}}}
    config = CheckConfig.from_mapping(content)
    subject = DagSubject(definition(catchup=True), "x.py", NOW)
    (finding,) = check_definition(subject, config)
    assert (finding.check_id, finding.severity) == ("SPN019", Severity.ERROR)
    assert CheckConfig.from_mapping(config.as_json()) == config
    excluded = CheckConfig.from_mapping({"exclude": ["dags/old/*"]})
    assert not found(definition(tier=None), path="dags/old/x.py", config=excluded)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "is a list"),
        ({"check": {}}, "unknown key 'check'"),
        ({"checks": {"SPN999": "off"}}, "no check has the id 'SPN999'"),
        ({"checks": {"SPN014": "loud"}}, "severity 'loud'"),
        ({"checks": {"SPN012": {"max_age": 3}}}, "no threshold 'max_age'"),
        ({"checks": {"SPN012": {"max_age_days": "old"}}}, "max_age_days is 'old'"),
        ({"owners": "me"}, "owners is not a list"),
    ],
)
def test_a_wrong_switch_file_says_what_and_how(content, says):
    with pytest.raises(CheckConfigError, match=says) as raised:
        CheckConfig.from_mapping(content)
    assert raised.value.fix
