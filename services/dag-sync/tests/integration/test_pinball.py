"""I1: a legacy repository, through the token-fetcher, to definitions that run; the service may come and go."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[4] / "examples" / "pinball"


@pytest.fixture
def token_fetcher(tmp_path, tools):
    processes = []
    port = []

    def start(repository):
        status = tmp_path / "token-fetcher.json"
        status.unlink(missing_ok=True)
        settings = {
            "SPINNER_PINBALL_REPOSITORIES": f"sample={repository}",
            "SPINNER_STATUS_FILE": str(status),
            "SPINNER_GRPC_ADDRESS": f"127.0.0.1:{port[0] if port else 0}",
        }
        process = subprocess.Popen([sys.executable, "-m", "spinner_token_fetcher"], env={**os.environ, **settings})
        processes.append(process)
        address = tools.until(
            lambda: status.exists() and json.loads(status.read_text())["grpc"], "the token-fetcher is ready"
        )
        port[:] = [int(address.rpartition(":")[2])]
        return process, address

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_legacy_workflow_becomes_a_definition_and_follows_its_repository(sync, tools, token_fetcher):
    repository = sync.folder / "pinball"
    shutil.copytree(SAMPLE, repository)
    process, address = token_fetcher(repository)
    sync.environment = {"SPINNER_TOKEN_FETCHER": address}
    entry = {"name": "old", "kind": "pinball", "repository": "sample", "path": str(repository), "interval_seconds": 0.5}
    sync.bundles(entry | {"tier": 2, "access_control": {"data": ["can_dag_read"]}})
    sync.start()
    before = tools.until(lambda: sync.current(2), "announced")
    assert set(before) == {"solar_report"}
    (definition,) = sync.definitions()
    assert definition.runtime == "pinball"
    assert definition.bundle.object_key
    tasks = {task.task_id: task for task in definition.tasks}
    assert tasks["extract"].command == "echo PINBALL:EVENT_ATTR:planets=8"
    assert [definition.tasks[position].task_id for position in tasks["final"].upstream] == ["publish"]
    assert tasks["merge"].retries == 1
    assert definition.schedule.delta.period.ToTimedelta() == timedelta(hours=25)
    assert definition.schedule.delta.reference_time.ToDatetime(UTC) == datetime(2026, 1, 1, 3, 30, 7, tzinfo=UTC)

    process.kill()
    process.wait()
    tools.until(lambda: "old/." in sync.errors(), "the absence is reported")
    assert sync.current(2) == before

    workflows = repository / "solar" / "workflows.py"
    workflows.write_text(workflows.read_text().replace("published'", "published again'"))
    token_fetcher(repository)
    tools.until(lambda: sync.current(2) != before and not sync.errors(), "the edit is live")
    assert [item.dag_id for item in sync.definitions()] == ["solar_report", "solar_report"]

    workflows.write_text(workflows.read_text().replace("['extract']", "['lost']", 1))
    error = tools.until(lambda: sync.errors().get("old/workflows/solar_report"), "the broken workflow is reported")
    assert "depends on lost" in error.message
    assert set(sync.current(2)) == {"solar_report"}
