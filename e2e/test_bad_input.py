"""Bad input is refused with a reason, and stops nothing."""

from __future__ import annotations

import json
import os
import signal

import httpx
import pytest

from e2e.harness import Stack, unique, wait_for

GARBAGE = b"\xff\xfe this is no protobuf message"


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["code"], body
    assert body["fix"], body
    return str(body["message"])


def still_works(stack: Stack) -> None:
    run_id = stack.trigger("e2e_chain", unique("after"))
    assert stack.finished("e2e_chain", run_id)["state"] == "success"


def errors_of(stack: Stack, file: str) -> list[dict[str, object]]:
    return [error for error in stack.json("dags", "errors") if error["relative_path"] == file]


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        ("syntax.py", "from spinner import DAG\ndef broken(:\n", "syntax"),
        ("no_tier.py", "from spinner import DAG\nDAG('no_tier', access_control={'a': ['can_dag_read']})\n", "tier"),
        ("no_access.py", "from spinner import DAG\nDAG('no_access', tier=1)\n", "access_control"),
        ("exits.py", "from spinner import DAG\nimport sys\nsys.exit(3)\n", "exit"),
    ],
)
def test_a_bad_file_is_a_parse_error_with_its_name_and_a_fix(stack: Stack, file: str, source: str, said: str) -> None:
    path = stack.scratch / file
    path.write_text(source)
    found = wait_for(f"the parse error of {file}", lambda: errors_of(stack, file), 60)
    assert said in f"{found[0]['error_type']} {found[0]['message']}".lower()
    assert found[0]["fix"]
    path.unlink()
    wait_for(f"{file} forgotten", lambda: not errors_of(stack, file), 60)
    assert "e2e_chain" in stack.dag_ids()


def test_a_malformed_bundle_entry_hurts_no_other(stack: Stack) -> None:
    good = stack.bundles_file.read_text()
    entries = json.loads(good)
    entries["bundles"].append({"name": "malformed", "kind": "folder"})
    stack.bundles_file.write_text(json.dumps(entries))
    try:
        wait_for("the bundle's error", lambda: [e for e in stack.json("dags", "errors") if e["bundle"] == "malformed"])
        assert "e2e_chain" in stack.dag_ids()
        still_works(stack)
    finally:
        stack.bundles_file.write_text(good)


@pytest.mark.parametrize("conf", [[1, 2], "text", 3, None])
def test_a_conf_that_is_no_object_is_refused(stack: Stack, conf: object) -> None:
    problem(stack.rest("POST", "/dags/e2e_chain/runs", json={"conf": conf}), 400)


def test_the_command_line_refuses_a_conf_that_is_no_object(stack: Stack) -> None:
    done = stack.run("dags", "trigger", "e2e_chain", "--conf", "[1]", check=False)
    assert done.returncode == 1
    assert "must be an object" in done.stderr
    assert "fix:" in done.stderr


def test_a_conf_of_10_mb_is_refused_with_the_limit(stack: Stack) -> None:
    answer = stack.rest("POST", "/dags/e2e_chain/runs", json={"conf": {"text": "x" * 10_000_000}})
    assert "MiB" in problem(answer, 413)
    still_works(stack)


def test_a_conf_just_below_the_limit_reaches_the_task(stack: Stack) -> None:
    run_id = stack.trigger("e2e_chain", unique("large"), {"text": "x" * 1_000_000})
    assert stack.finished("e2e_chain", run_id)["state"] == "success"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/dags/there-is-none", None),
        ("POST", "/dags/there-is-none/runs", {"conf": {}}),
        ("PATCH", "/dags/there-is-none", {"paused": True}),
        ("GET", "/dags/e2e_chain/runs/there-is-none", None),
        ("POST", "/dags/e2e_chain/runs/there-is-none/clear", {}),
        ("GET", "/dags/e2e_chain/runs/there-is-none/tasks/step_0/-1", None),
    ],
)
def test_unknown_ids_are_not_found(stack: Stack, method: str, path: str, body: dict[str, object] | None) -> None:
    assert "there-is-none" in problem(stack.rest(method, path, json=body), 404)


def test_the_command_line_says_what_is_not_there(stack: Stack) -> None:
    done = stack.run("dags", "show", "there-is-none", check=False)
    assert done.returncode == 1
    assert "there-is-none" in done.stderr


def test_an_unknown_topic_is_named_with_those_that_there_are(stack: Stack) -> None:
    done = stack.run("events", "tail", "--topic", "no_such_topic", check=False)
    assert done.returncode == 1
    assert "no_such_topic doesn't exist" in done.stderr and "workflow_events" in done.stderr


# What is put by hand on these goes to dead_letters; elsewhere it is passed over by those who read it.
DEAD_LETTERED = {
    "scheduler_inbox-spinner_tier_1",
    "workflow_events-spinner_tier_1",
    "workflow_definitions",
    "workflow_parse_errors",
    "workflow_job_executions",
    "failure_diagnoses",
    "task_orders-spinner",
    "variables",
    "audit_events",
}


def test_unreadable_records_on_any_topic_are_dead_lettered_counted_and_stop_nothing(stack: Stack) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient
    from spinner_eventlog.kafka import KafkaLog

    found = AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=10).topics
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    for topic, facts in found.items():
        if topic.startswith("_") or topic == "dead_letters":
            continue
        for partition in facts.partitions:
            # An empty one is a readable message without any content.
            for value in (GARBAGE, b""):
                producer.produce(topic, value, key=unique("by-hand"), partition=partition)
    assert producer.flush(30) == 0

    def letters_are_there() -> bool:
        log = KafkaLog(stack.bootstrap, "e2e")
        try:
            partitions = range(log.partition_count("dead_letters"))
            letters = [record for number in partitions for record in log.read_all("dead_letters", number)]
        finally:
            log.close()
        missing = DEAD_LETTERED - {letter.headers["origin-topic"] for letter in letters if letter.value == GARBAGE}
        assert not missing, missing
        return True

    wait_for("the dead letters", letters_are_there, 30)
    before = stack.service("webgateway")["pid"]
    still_works(stack)
    for victim in ("dag-sync", "scheduler", "executor", "webgateway", "rca"):
        os.kill(int(stack.service(victim)["pid"]), signal.SIGKILL)
    wait_for("all back", lambda: all(row["state"] == "running" for row in stack.json("status")), 60)
    wait_for("the gateway", lambda: stack.service("webgateway")["pid"] != before and stack.dag_ids(), 60)
    still_works(stack)
    (stack.scratch / "later.py").write_text(LATER)
    wait_for("dag-sync still publishes", lambda: "later" in stack.dag_ids(), 60)
    (stack.scratch / "later.py").unlink()


LATER = """
from spinner import DAG, EmptyOperator, Tier
with DAG("later", tier=Tier.TIER3, access_control={"everyone": {"can_dag_read"}}, schedule=None):
    EmptyOperator(task_id="one")
"""
