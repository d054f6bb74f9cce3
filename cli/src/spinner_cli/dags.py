"""`spinner dags …`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spinner_cli.options import DagId, JsonOption, Limit, json_object
from spinner_cli.output import counts, duration, print_facts, print_json, print_table, short_time

DagIds = Annotated[list[str], typer.Argument(metavar="DAG_ID...")]
app = typer.Typer(help="DAGs: list, check, trigger, pause.", no_args_is_help=True)


@app.command("list")
def list_dags(
    query: Annotated[str | None, typer.Option(help="Words in the id, tags or owner.")] = None,
    tier: Annotated[int | None, typer.Option(min=1, max=3)] = None,
    limit: Limit = 500,
    as_json: JsonOption = False,
) -> None:
    """List DAGs with their latest run and next one."""
    from spinner_cli.api import Api

    dags = list(Api().items("/dags", limit, query=query, tier=tier))
    if as_json:
        print_json(dags)
        return
    print_table(
        ["DAG", "schedule", "paused", "owner", "tier", "latest run", "next run"],
        [
            [
                dag["dag_id"],
                dag["schedule"] or "none",
                "yes" if dag["paused"] else "",
                dag["owner"],
                dag["tier"],
                dag["recent_runs"][-1]["state"] if dag["recent_runs"] else "",
                short_time(dag["next_run_time"]),
            ]
            for dag in dags
        ],
        "There are no DAGs. Is the bundle right? See `spinner dags errors` and .spinner/bundles.yaml.",
    )


@app.command()
def show(dag_id: DagId, as_json: JsonOption = False) -> None:
    """Show one DAG."""
    from spinner_cli.api import Api, path

    dag = Api().get(path("dags", dag_id))
    if as_json:
        print_json(dag)
        return
    names = ("dag_id", "description", "paused", "schedule", "schedule_text", "owner", "project", "tier", "tags")
    more = ("partition", "version", "relative_path", "next_run_time", "no_next_run_reason", "active_runs")
    print_facts((name.replace("_", " "), dag.get(name)) for name in names + more)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A DAG file, or a folder of them.")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Parse and check DAG files without any server. Exit code 1 when there are errors."""
    from dataclasses import asdict

    from spinner_dagbag.check_path import check_path

    from spinner_cli.errors import CliError

    try:
        findings = check_path(path, strict=strict)
    except FileNotFoundError as error:
        raise CliError(str(error), "Give a DAG file or a folder.") from error
    rows = [{**asdict(finding), "severity": _word(finding.severity)} for finding in findings]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{row['path']}:{row['line'] or 1}: {row['severity']} {row['check_id']}: {row['message']}")
            if row["fix"]:
                print(f"    fix: {row['fix']}")
        errors = sum(row["severity"] == "error" for row in rows)
        print(f"{errors} errors, {len(rows) - errors} other findings" if rows else "No findings.")
    if any(row["severity"] == "error" for row in rows):
        raise typer.Exit(1)


@app.command()
def trigger(
    dag_id: DagId,
    conf: Annotated[str, typer.Option(help="JSON object for the run; `@file` reads one, `@-` standard input.")] = "{}",
    run_id: Annotated[str | None, typer.Option(help="A run id of your own.")] = None,
    logical_date: Annotated[str | None, typer.Option(help="ISO time that the run is for.")] = None,
    note: Annotated[str, typer.Option(help="Why; shown with the run.")] = "",
    partition_key: Annotated[str, typer.Option(help="Which partition of its assets it is about.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code 1 unless it is success.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 3600.0,
    as_json: JsonOption = False,
) -> None:
    """Start a run."""
    from spinner_cli.api import Api, path
    from spinner_cli.watching import watch_run

    api = Api()
    body: dict[str, Any] = {"conf": json_object(conf, "--conf"), "note": note}
    if partition_key:
        body["partition_key"] = partition_key
    if run_id is not None:
        body["run_id"] = run_id
    if logical_date is not None:
        body["logical_date"] = logical_date
    result = api.post(path("dags", dag_id, "runs"), body)
    if not wait:
        print_json(result) if as_json else print(result["run_id"])
        return
    if not as_json:
        print(result["run_id"])
    run = watch_run(api, dag_id, result["run_id"], timeout, quiet=as_json)
    if as_json:
        print_json(run)
    if run["state"] != "success":
        raise typer.Exit(1)


@app.command()
def pause(dag_ids: DagIds, as_json: JsonOption = False) -> None:
    """Stop making scheduled runs of DAGs; running ones go on."""
    _set_paused(dag_ids, True, as_json)


@app.command()
def unpause(dag_ids: DagIds, as_json: JsonOption = False) -> None:
    """Make scheduled runs of DAGs again."""
    _set_paused(dag_ids, False, as_json)


@app.command()
def errors(
    query: Annotated[str | None, typer.Option(help="Only those with this in path, type, message or DAG ids.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Those that are over instead.")] = False,
    limit: Limit = 500,
    as_json: JsonOption = False,
) -> None:
    """List files that couldn't be read, each with the reason and the fix."""
    from spinner_cli.api import Api

    found = list(Api().items("/parse-errors/history" if history else "/parse-errors", limit, query=query))
    if as_json:
        print_json(found)
        return
    for error in found:
        where = f"{error['bundle']}/{error['relative_path']}:{error['line'] or 1}"
        print(f"{where}: {error['error_type']}: {error['message']}")
        if history:
            print(f"    from {short_time(error['detected_time'])} to {short_time(error['end_time'])}")
        elif error["fix"]:
            print(f"    fix: {error['fix']}")
    if not found:
        print("No error is over yet." if history else "No broken file matches." if query else "All files are fine.")


@app.command()
def calendar(
    dag_id: DagId,
    since: Annotated[str | None, typer.Option("--from", help="First day, for example 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day, included; default: today.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many runs each day had and how they ended; at most 366 days, in the time zone of the DAG's schedule."""
    from spinner_cli.api import Api, path

    wanted = {name: value for name, value in (("from_date", since), ("to_date", until)) if value is not None}
    found = Api().get(path("dags", dag_id, "calendar"), **wanted)
    if as_json:
        print_json(found)
        return
    print_table(
        ["day", "runs", "of which"],
        [[day["date"], sum(day["counts"].values()), counts(day["counts"])] for day in found["days"]],
        f"No run was due from {found['from_date']} to {found['to_date']}.",
    )
    print(f"\nDays in {found['timezone']}, by when runs were due.")


@app.command()
def durations(
    dag_id: DagId,
    tasks: Annotated[bool, typer.Option("--tasks", help="Of its tasks, slowest first.")] = False,
    task_ids: Annotated[
        list[str] | None, typer.Option("--task", help="Of this task, run by run. May be repeated.")
    ] = None,
    run_type: Annotated[str | None, typer.Option("--type", help="Only runs of this type, e.g. scheduled.")] = None,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="The latest so many runs.")] = 25,
    as_json: JsonOption = False,
) -> None:
    """Show how long runs or tasks took, and how long after they were due they ended (landing time)."""
    from spinner_cli.api import Api, path

    wanted: dict[str, Any] = {"runs": limit, "run_type": run_type, "state": state}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if tasks or task_ids:
        found = Api().get(path("dags", dag_id, "task-durations"), task_id=task_ids or [], **wanted)
    else:
        found = Api().get(path("dags", dag_id, "durations"), **wanted)
    if as_json:
        print_json(found)
    elif task_ids:
        _print_points(found)
    elif tasks:
        _print_task_durations(found)
    else:
        _print_run_durations(found)


def _print_run_durations(found: dict[str, Any]) -> None:
    print_table(
        ["due", "run", "state", "queued", "duration", "landing"],
        [
            [
                short_time(run["due_time"]),
                run["run_id"],
                run["state"],
                *(duration(run[f"{name}_seconds"]) for name in ("queued", "duration", "landing")),
            ]
            for run in found["runs"]
        ],
        "There is no such run.",
    )
    if found["duration"]["count"]:
        print()
        print_facts((name, _statistics(found[name])) for name in ("queued", "duration", "landing"))


def _print_task_durations(found: dict[str, Any]) -> None:
    print_table(
        ["task", "runs", "failed", "median", "95 %", "longest", "median landing"],
        [
            [
                task["task_id"],
                task["run_count"],
                task["failed_count"] or "",
                *(duration(task["duration"][f"{name}_seconds"]) for name in ("median", "p95", "max")),
                duration(task["landing"]["median_seconds"]),
            ]
            for task in found["tasks"]
        ],
        "No task has ended.",
    )
    if len(found["tasks"]) < found["task_count"]:
        print(f"\nThe slowest {len(found['tasks'])} of {found['task_count']:,} tasks.")
    print(f"\nOf the latest {found['run_count']:,} runs.")


def _print_points(found: dict[str, Any]) -> None:
    for task in found["tasks"]:
        print_table(
            ["run", task["task_id"], "duration", "landing"],
            [
                [
                    point["run_id"],
                    point["state"],
                    duration(point["duration_seconds"]),
                    duration(max(0.0, point["landing_seconds"])),
                ]
                for point in task["points"]
            ],
            f"{task['task_id']} has ended in none of these runs.",
        )
        if task["duration"]["count"]:
            print()
            print_facts((name, _statistics(task[name])) for name in ("duration", "landing"))
            print()


def _statistics(found: dict[str, Any]) -> str:
    return (
        f"median {duration(found['median_seconds'])}, 95 % within {duration(found['p95_seconds'])}, "
        f"longest {duration(found['max_seconds'])}, of {found['count']:,} successful"
    )


def _set_paused(dag_ids: list[str], paused: bool, as_json: bool) -> None:
    from spinner_cli.api import Api, path

    api = Api()
    for dag_id in dag_ids:
        api.patch(path("dags", dag_id), {"paused": paused})
        if not as_json:
            print(f"{dag_id} is {'paused' if paused else 'active'}")
    if as_json:
        print_json([{"dag_id": dag_id, "paused": paused} for dag_id in dag_ids])


def _word(severity: Any) -> str:
    return str(getattr(severity, "value", severity)).lower()
