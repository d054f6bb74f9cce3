"""Following a run until it ends, by the gateway's change stream."""

from __future__ import annotations

import time
from typing import Any

import httpx

from spinner_cli.api import Api, path
from spinner_cli.errors import CliError
from spinner_cli.output import duration, now_text

FINISHED = {"success", "failed"}


def resolve_run(api: Api, dag_id: str, run_id: str) -> str:
    """The run id; `latest` becomes the newest run's. Raises CliError when the DAG has no run."""
    if run_id != "latest":
        return run_id
    newest = next(api.items(path("dags", dag_id, "runs"), 1), None)
    if newest is None:
        raise CliError(f"DAG {dag_id} has no runs.", f"Start one: `spinner dags trigger {dag_id}`.")
    return str(newest["run_id"])


def watch_run(api: Api, dag_id: str, run_id: str, timeout_seconds: float, quiet: bool = False) -> dict[str, Any]:
    """Prints every change of state until the run ends, and returns the run.

    Survives a restart of the gateway. Raises CliError when the time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    seen: dict[tuple[str, int], str] = {}
    while True:
        run = _read(api, dag_id, run_id, deadline)
        if run is not None:
            if not quiet:
                _print_changes(api, dag_id, run_id, seen)
            if run["state"] in FINISHED:
                if not quiet:
                    print(f"{now_text()}  run {run['state']} after {duration(run['duration_seconds'])}", flush=True)
                return run
        if time.monotonic() > deadline:
            state = run["state"] if run else "unknown"
            raise CliError(
                f"Run {dag_id}/{run_id} is {state} after {timeout_seconds:.0f} s.",
                f"See `spinner tasks list {dag_id} {run_id}`, or wait longer with --timeout.",
            )
        _wait_for_change(api, dag_id, deadline)


def _read(api: Api, dag_id: str, run_id: str, deadline: float) -> dict[str, Any] | None:
    try:
        return dict(api.get(path("dags", dag_id, "runs", run_id)))
    except CliError as error:
        if isinstance(error.__cause__, httpx.HTTPError) and time.monotonic() < deadline:
            return None
        raise


def _wait_for_change(api: Api, dag_id: str, deadline: float) -> None:
    seconds = max(0.1, min(2.0, deadline - time.monotonic()))
    try:
        for name, _ in api.events("/changes", read_seconds=seconds, dag_id=dag_id):
            if name == "change":
                return
    except (httpx.TimeoutException, CliError):
        time.sleep(min(0.2, seconds))


def _print_changes(api: Api, dag_id: str, run_id: str, seen: dict[tuple[str, int], str]) -> None:
    for task in api.items(path("dags", dag_id, "runs", run_id, "tasks")):
        key = (task["task_id"], task["map_index"])
        if task["state"] != "none" and seen.get(key) != task["state"]:
            seen[key] = task["state"]
            name = key[0] if key[1] < 0 else f"{key[0]}[{key[1]}]"
            tries = f"  try {task['try_number']}" if task["try_number"] > 1 else ""
            print(
                f"{now_text()}  {task['state']:<16} {name}{tries}  {task['category'] or task['reason']}".rstrip(),
                flush=True,
            )
