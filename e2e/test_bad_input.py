"""Bad input is refused with a reason, and stops nothing."""

from __future__ import annotations

import json

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


@pytest.mark.parametrize(
    "topic",
    [
        "scheduler_inbox-spinner_tier_1",
        "workflow_events-spinner_tier_1",
        "workflow_definitions",
        "task_orders-spinner",
        "workflow_job_executions",
        "failure_diagnoses",
    ],
)
def test_an_unreadable_record_is_dead_lettered_and_stops_nothing(stack: Stack, topic: str) -> None:
    from confluent_kafka import Producer
    from spinner_eventlog.kafka import KafkaLog

    key = unique("by-hand")
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    producer.produce(topic, GARBAGE, key=key, partition=0)
    assert producer.flush(30) == 0

    def is_dead_lettered() -> bool:
        log = KafkaLog(stack.bootstrap, "e2e")
        try:
            partitions = range(log.partition_count("dead_letters"))
            letters = [record for number in partitions for record in log.read_all("dead_letters", number)]
        finally:
            log.close()
        return any(topic in f"{letter.key} {letter.headers}" and GARBAGE in (letter.value or b"") for letter in letters)

    wait_for(f"the dead letter from {topic}", is_dead_lettered, 30)
    still_works(stack)
