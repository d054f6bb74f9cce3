"""`up`, `status` and the commands as a stranger meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e.harness import ROOT, Stack, unique, wait_for

SERVICES = {"kafka", "scheduler", "executor", "webgateway", "dag-sync", "token-fetcher", "rca"}


def test_a_second_up_is_a_no_op_that_says_so(stack: Stack) -> None:
    before = {row["name"]: row["pid"] for row in stack.json("status")}
    assert "already up" in stack.up()
    assert {row["name"]: row["pid"] for row in stack.json("status")} == before


def test_status_names_every_service(stack: Stack) -> None:
    rows = {row["name"]: row for row in stack.json("status")}
    assert set(rows) == SERVICES
    for row in rows.values():
        assert row["state"] == "running", row
        assert row["address"].rpartition(":")[2].isdigit(), row
        assert row["version"], row
        assert row["memory_mib"] > 1, row


def test_a_run_is_triggered_watched_and_read_from_the_command_line(stack: Stack) -> None:
    conf = json.dumps({"marks": str(stack.marks)})
    run_id = unique("cli")
    stack.run("dags", "trigger", "e2e_chain", "--run-id", run_id, "--conf", conf, "--wait")
    runs = stack.json("runs", "list", "--dag", "e2e_chain")
    assert next(run for run in runs if run["run_id"] == run_id)["state"] == "success"
    tasks = stack.json("tasks", "list", "e2e_chain", run_id)
    assert [task["state"] for task in tasks] == ["success"] * 6
    assert "step_0" in stack.run("events", "tail", "--no-follow", "--json").stdout


def test_a_failed_task_shows_its_log_and_runs_again_when_cleared(stack: Stack) -> None:
    run_id = stack.trigger("e2e_failing", unique("clear"))
    assert stack.finished("e2e_failing", run_id)["state"] == "failed"
    states = {task["task_id"]: task["state"] for task in stack.tasks("e2e_failing", run_id)}
    assert states == {"fail": "failed", "never": "upstream_failed"}
    log = stack.run("tasks", "logs", "e2e_failing", run_id, "fail").stdout
    assert "ValueError: this task always fails" in log
    stack.run("tasks", "clear", "e2e_failing", run_id, "fail", "--downstream")
    assert stack.finished("e2e_failing", run_id)["state"] == "failed"
    tries = [mark.try_number for mark in stack.read_marks("e2e_failing", {run_id})]
    assert tries == [1, 2]


def test_a_paused_dag_says_so(stack: Stack) -> None:
    stack.run("dags", "pause", "e2e_flaky")
    assert stack.json("dags", "show", "e2e_flaky")["paused"] is True
    stack.run("dags", "unpause", "e2e_flaky")
    assert stack.json("dags", "show", "e2e_flaky")["paused"] is False


def test_the_view_is_rebuilt_from_the_log(stack: Stack) -> None:
    def rows() -> list[tuple[str, str, str]]:
        return sorted((run["dag_id"], run["run_id"], run["state"]) for run in stack.items("/runs"))

    run_id = stack.trigger("e2e_chain", unique("rebuild"))
    stack.finished("e2e_chain", run_id)
    before = {row for row in rows() if row[0].startswith("e2e_")}
    stack.run("views", "rebuild")
    assert before <= set(rows())


def test_dags_are_checked_without_a_server(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from spinner import DAG\nDAG('no_tier')\n")
    done = stack.run("dags", "check", str(tmp_path), "--json", check=False)
    assert done.returncode == 1
    assert "tier" in " ".join(finding["message"] for finding in json.loads(done.stdout))
    assert stack.run("dags", "check", str(ROOT / "e2e" / "dags"), check=False).returncode == 0


def test_memory_is_shown_set_and_reset_from_the_command_line(stack: Stack) -> None:
    def memory() -> dict[str, Any]:
        (found,) = stack.json("tasks", "resources", "e2e_flaky", "fail_once")
        return dict(found)

    stack.run("tasks", "resources", "e2e_flaky", "fail_once", "--request", "96Mi", "--limit", "1Gi")
    wait_for("the setting", lambda: memory()["source"] == "set")
    assert (memory()["request_bytes"], memory()["limit_bytes"]) == (96 << 20, 1 << 30)
    run_id = stack.trigger("e2e_flaky", unique("memory"))
    assert stack.finished("e2e_flaky", run_id)["state"] == "success"
    task = stack.rest("GET", f"/dags/e2e_flaky/runs/{run_id}/tasks/fail_once/-1").json()
    assert task["tries"][-1]["memory_request_bytes"] == 96 << 20
    stack.run("tasks", "resources", "e2e_flaky", "fail_once", "--reset")
    wait_for("the reset", lambda: memory()["source"] != "set")
    refused = stack.run("tasks", "resources", "e2e_flaky", "nobody", "--request", "1Gi", check=False)
    assert refused.returncode == 1 and "nobody" in refused.stderr
