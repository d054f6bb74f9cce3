"""`spinner runs …`"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spinner_cli.options import DagId, JsonOption, Limit, RunId
from spinner_cli.output import counts, duration, print_done, print_facts, print_json, print_table, short_time

app = typer.Typer(help="Runs: list, watch, clear, stop, mark.", no_args_is_help=True)
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.")]


@app.command("list")
def list_runs(
    dag: Annotated[str | None, typer.Option("--dag", help="Only runs of this DAG.")] = None,
    state: Annotated[str | None, typer.Option(help="queued, running, success or failed.")] = None,
    limit: Limit = 50,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    from spinner_cli.api import Api

    runs = list(Api().items("/runs", limit, dag_id=dag, state=state))
    if as_json:
        print_json(runs)
        return
    print_table(
        ["DAG", "run", "state", "type", "started", "duration", "tasks"],
        [
            [
                run["dag_id"],
                run["run_id"],
                run["state"],
                run["run_type"],
                short_time(run["start_time"]),
                duration(run["duration_seconds"]),
                counts(run["task_counts"]),
            ]
            for run in runs
        ],
        "There are no runs.",
    )


@app.command()
def show(dag_id: DagId, run_id: RunId, as_json: JsonOption = False) -> None:
    """Show one run."""
    api, run_path = run_of(dag_id, run_id)
    run = api.get(run_path)
    if as_json:
        print_json(run)
        return
    names = ("dag_id", "run_id", "state", "run_type", "logical_date", "start_time", "end_time", "version", "actor")
    print_facts((name.replace("_", " "), run.get(name)) for name in (*names, "partition_key", "note", "reason"))
    print_facts([("duration", duration(run["duration_seconds"])), ("tasks", counts(run["task_counts"]))])
    print_facts([("conf", run["conf"])])


@app.command()
def watch(dag_id: DagId, run_id: RunId, timeout: Timeout = 3600.0, as_json: JsonOption = False) -> None:
    """Follow a run until it ends. Exit code 1 unless it ends in success."""
    from spinner_cli.api import Api
    from spinner_cli.watching import resolve_run, watch_run

    api = Api()
    run = watch_run(api, dag_id, resolve_run(api, dag_id, run_id), timeout, quiet=as_json)
    if as_json:
        print_json(run)
    if run["state"] != "success":
        raise typer.Exit(1)


@app.command()
def clear(
    dag_id: DagId,
    run_id: RunId,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Only failed and upstream-failed tasks.")] = False,
    latest_version: Annotated[bool, typer.Option("--latest-version", help="Run with the newest definition.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would touch.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a run's tasks again."""
    api, run_path = run_of(dag_id, run_id)
    body = {"only_failed": only_failed, "latest_version": latest_version, "dry_run": dry_run}
    print_cleared(api.post(f"{run_path}/clear", body), dry_run, as_json)


@app.command()
def callbacks(dag_id: DagId, run_id: RunId, as_json: JsonOption = False) -> None:
    """List the callbacks and e-mails of a run: each is a try of its own (see `spinner tasks logs` for its log)."""
    api, run_path = run_of(dag_id, run_id)
    found = api.get(f"{run_path}/callbacks")
    if as_json:
        print_json(found)
        return
    print_table(
        ["of", "map", "try", "state", "started", "duration", "what went wrong", "log: task id"],
        [
            [
                one["task_id"] or "the DAG",
                one["map_index"] if one["map_index"] >= 0 else "",
                one["number"],
                one["state"],
                short_time(one["start_time"]),
                duration(one["duration_seconds"]),
                one["message"],
                one["log_task_id"],
            ]
            for one in found
        ],
        "Nothing was called.",
    )


@app.command()
def stop(dag_id: DagId, run_id: RunId, as_json: JsonOption = False) -> None:
    """End a run now: running tasks are stopped, it becomes failed."""
    api, run_path = run_of(dag_id, run_id)
    print_done(api.post(f"{run_path}/stop"), f"{dag_id}/{run_id} is stopping", as_json)


@app.command()
def mark(
    dag_id: DagId,
    run_id: RunId,
    state: Annotated[str, typer.Argument(help="success or failed")],
    as_json: JsonOption = False,
) -> None:
    """Set a run's state by hand."""
    api, run_path = run_of(dag_id, run_id)
    print_done(api.post(f"{run_path}/mark", {"state": state}), f"{dag_id}/{run_id} is marked {state}", as_json)


def print_cleared(result: dict[str, Any], dry_run: bool, as_json: bool) -> None:
    """Says what clearing touched, or would."""
    if as_json:
        print_json(result)
        return
    verb = "would be cleared" if dry_run else "cleared"
    print(f"{result['task_count']} task instances in {result['run_count']} runs {verb}{_consequences(result)}")
    for task in result["tasks"][:50]:
        index = f"[{task['map_index']}]" if task["map_index"] >= 0 else ""
        note = ", ".join(filter(None, (_EFFECTS.get(task["effect"]), _REASONS.get(task["reason"]))))
        print(f"  {task['run_id']}  {task['task_id']}{index}  {task['state']}{f'  ({note})' if note else ''}")
    left = result["task_count"] + result["removed_count"] + result["added_count"] - min(50, len(result["tasks"]))
    if left > 0:
        print(f"  and {left} more")


_EFFECTS = {"kill": "killed first", "removed": "not in that version", "added": "new in that version"}
_REASONS = {
    "upstream": "upstream",
    "downstream": "downstream",
    "setup_teardown": "setup or teardown of a cleared task",
    "version": "its run takes another version",
}


def _consequences(result: dict[str, Any]) -> str:
    found = [
        (result["killed_count"], "tries killed"),
        (result["removed_count"], "tasks that vanish"),
        (result["added_count"], "tasks that are new"),
    ]
    said = [f"{count} {words}" for count, words in found if count]
    if result["version"]:
        said.insert(0, f"with version {result['version'][:12]}")
    return f" ({', '.join(said)})" if said else ""


def run_of(dag_id: str, run_id: str) -> tuple[Any, str]:
    """A client, and the path of a run; `latest` is resolved."""
    from spinner_cli.api import Api, path
    from spinner_cli.watching import resolve_run

    api = Api()
    return api, path("dags", dag_id, "runs", resolve_run(api, dag_id, run_id))
