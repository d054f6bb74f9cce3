"""`spinner tasks …`"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from spinner_cli.api import Api
from spinner_cli.options import DagId, JsonOption, Limit, MapIndex, RunId, json_object
from spinner_cli.output import (
    duration,
    print_done,
    print_facts,
    print_json,
    print_json_line,
    print_table,
    short_time,
    size,
)
from spinner_cli.runs import print_cleared, run_of

MOST_TAIL_LINES = 10_000
MOST_FRUITLESS = 30
"""Seconds that a log may stay without news while nobody has it."""
app = typer.Typer(help="Task instances: list, logs, clear, mark.", no_args_is_help=True)
TaskId = Annotated[str, typer.Argument(help="Task id.", metavar="TASK_ID")]
TaskIds = Annotated[list[str], typer.Argument(help="Task ids.", metavar="TASK_ID...")]
LOG_LINES = 5000
Upstream = Annotated[bool, typer.Option("--upstream", help="Also everything before them.")]
Downstream = Annotated[bool, typer.Option("--downstream", help="Also everything after them.")]


@app.command("list")
def list_tasks(
    dag_id: DagId,
    run_id: RunId,
    state: Annotated[str | None, typer.Option(help="Only tasks in this state.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the task instances of a run."""
    api, run_path = run_of(dag_id, run_id)
    tasks = list(api.items(f"{run_path}/tasks", state=state))
    if as_json:
        print_json(tasks)
        return
    print_table(
        ["task", "map", "state", "try", "started", "duration", "operator", "why"],
        [
            [
                task["task_id"],
                task["map_index"] if task["map_index"] >= 0 else "",
                task["state"],
                task["try_number"] or "",
                short_time(task["start_time"]),
                duration(task["duration_seconds"]),
                task["operator"],
                task["category"] or task["reason"],
            ]
            for task in tasks
        ],
        "The run has no tasks yet.",
    )


@app.command()
def show(dag_id: DagId, run_id: RunId, task_id: TaskId, map_index: MapIndex = -1, as_json: JsonOption = False) -> None:
    """Show a task instance with its tries, their stages, and why the failed ones failed."""
    api, run_path = run_of(dag_id, run_id)
    task = api.get(_task_path(run_path, task_id, map_index))
    if as_json:
        print_json(task)
        return
    names = ("dag_id", "run_id", "task_id", "map_index", "state", "reason", "operator", "pool", "application_id")
    print_facts((name.replace("_", " "), task[name]) for name in names if task[name] != -1)
    for attempt in task["tries"]:
        _print_try(attempt)


@app.command()
def similar(
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    map_index: MapIndex = -1,
    try_number: Annotated[
        int | None, typer.Option("--try", min=1, help="Which try; default: the latest that was diagnosed.")
    ] = None,
    same_dag: Annotated[bool, typer.Option("--same-dag", help="Only of this DAG, not of all.")] = False,
    limit: Limit = 50,
    as_json: JsonOption = False,
) -> None:
    """List the failed tries, of all DAGs, that had the same cause as this task's; newest first."""
    from spinner_cli.errors import CliError

    api, run_path = run_of(dag_id, run_id)
    tries = api.get(_task_path(run_path, task_id, map_index))["tries"]
    wanted = [one for one in tries if one["diagnosis"] and try_number in (None, one["try_number"])]
    if not wanted:
        which = "No try" if try_number is None else f"Try {try_number}"
        raise CliError(
            f"{which} of {dag_id}/{run_id}/{task_id} has a diagnosis.",
            "Failed tries have one a moment after their end: see `spinner tasks show`.",
        )
    cause = wanted[-1]["diagnosis"]
    if not cause["fingerprint"]:
        raise CliError(
            f"The diagnosis {cause['title']!r} names no cause to look for.", "See its log: `spinner tasks logs`."
        )
    only = {"dag_id": dag_id} if same_dag else {}
    found = list(api.items("/failures", limit, fingerprint=cause["fingerprint"], **only))
    if as_json:
        print_json(found)
        return
    print(f"{cause['title']} ({cause['category']})\n")
    print_table(
        ["diagnosed", "DAG", "run", "task", "map", "try", "stage", "owner"],
        [
            [
                short_time(one["time"]),
                one["dag_id"],
                one["run_id"],
                one["task_id"],
                one["map_index"] if one["map_index"] >= 0 else "",
                one["try_number"],
                one["stage"],
                one["owner"],
            ]
            for one in found
        ],
        "There is none any more.",
    )


def _print_try(attempt: dict[str, Any]) -> None:
    ended = attempt["outcome"].replace("_", " ") or attempt["state"].replace("_", " ")
    print(f"\ntry {attempt['try_number']}: {ended}")
    stages = ", ".join(f"{stage['name']} {duration(stage['seconds'])}".strip() for stage in attempt["stages"])
    diagnosis = attempt["diagnosis"] or {}
    facts = [
        ("started", short_time(attempt["start_time"])),
        ("duration", duration(attempt["duration_seconds"])),
        ("stages", stages),
        ("peak memory", size(attempt["peak_memory_bytes"])),
        ("read", size(attempt["read_bytes"])),
        ("written", size(attempt["written_bytes"])),
        ("message", attempt["message"]),
        ("diagnosis", diagnosis and f"{diagnosis['title']} ({diagnosis['category']})"),
        ("how to fix", diagnosis.get("how_to_fix")),
        (
            "similar failures",
            diagnosis.get("similar_count") and f"{diagnosis['similar_count']}: `spinner tasks similar`",
        ),
    ]
    print_facts((f"  {name}", value) for name, value in facts)


@app.command()
def logs(
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the try ends.")] = False,
    map_index: MapIndex = -1,
    try_number: Annotated[int | None, typer.Option("--try", min=1, help="Which try; default: the latest.")] = None,
    as_json: JsonOption = False,
    tail: Annotated[int | None, typer.Option("--tail", "-n", min=1, help="Only so many lines of its end.")] = None,
) -> None:
    """Print the log of a try, piece by piece however long it is (one JSON object a line with --json)."""
    from spinner_cli.errors import CliError

    api, run_path = run_of(dag_id, run_id)
    task_path = _task_path(run_path, task_id, map_index)
    if try_number is None:
        try_number = int(api.get(task_path)["try_number"])
        if try_number < 1:
            raise CliError(f"Task {task_id} hasn't started yet.", "Try again later: `spinner runs watch` shows when.")
    log_path = f"{task_path}/tries/{try_number}/log"
    show = print_json_line if as_json else _print_log_line
    offset = 0
    if tail is not None:
        page = api.get(log_path, tail=min(tail, MOST_TAIL_LINES))
        for line in page["lines"]:
            show(line)
        offset = page["next_offset"]
        if not follow or page["complete"]:
            return
    if not follow and not as_json:
        for piece in api.text(f"{log_path}/raw"):
            sys.stdout.write(piece)
        sys.stdout.flush()
        return
    for page in follow_log(api, log_path, offset) if follow else _log_pages(api, log_path):
        for line in page.get("lines", []):
            show(line)
        sys.stdout.flush()


def _print_log_line(line: dict[str, Any]) -> None:
    print(log_line(line))


def follow_log(api: Api, log_path: str, offset: int) -> Iterator[dict[str, Any]]:
    """The pages of a log from a byte offset until its try has ended; goes on where a stream broke off."""
    from spinner_cli.errors import CliError

    fruitless = 0
    while fruitless < MOST_FRUITLESS:
        before = offset
        for _, page in api.events(f"{log_path}/stream", offset=offset):
            yield page
            if page.get("complete"):
                return
            offset = page.get("next_offset", offset)
        # Its executor went away; the next one, or the object store, has the rest in a moment.
        fruitless = 0 if offset > before else fruitless + 1
        time.sleep(1.0)
    raise CliError(
        f"The log went silent: nobody has its end after byte {offset:,}.", "Look at the task: `spinner tasks show`."
    )


@app.command()
def clear(
    dag_id: DagId,
    run_id: RunId,
    task_ids: TaskIds,
    upstream: Upstream = False,
    downstream: Downstream = False,
    past: Annotated[bool, typer.Option("--past", help="Also in earlier runs.")] = False,
    future: Annotated[bool, typer.Option("--future", help="Also in later runs.")] = False,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Only failed ones.")] = False,
    map_index: Annotated[list[int] | None, typer.Option("--map-index", help="Only these mapped instances.")] = None,
    conf: Annotated[
        str | None, typer.Option(help="JSON object that these tasks see instead of the run's conf; `@file`, `@-`.")
    ] = None,
    latest_version: Annotated[
        bool,
        typer.Option("--latest-version", help="With the newest definition; what runs is killed first."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would touch.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run tasks again."""
    api, run_path = run_of(dag_id, run_id)
    body: dict[str, Any] = {
        "task_ids": task_ids,
        "map_indexes": map_index or [],
        "upstream": upstream,
        "downstream": downstream,
        "past": past,
        "future": future,
        "only_failed": only_failed,
        "latest_version": latest_version,
        "dry_run": dry_run,
    }
    if conf is not None:
        body["conf"] = json_object(conf, "--conf")
    print_cleared(api.post(f"{run_path}/clear", body), dry_run, as_json)


@app.command()
def mark(
    dag_id: DagId,
    run_id: RunId,
    task_ids: TaskIds,
    state: Annotated[str, typer.Option(help="success, failed or skipped")] = "success",
    upstream: Upstream = False,
    downstream: Downstream = False,
    as_json: JsonOption = False,
) -> None:
    """Set the state of tasks by hand."""
    api, run_path = run_of(dag_id, run_id)
    body = {"task_ids": task_ids, "state": state, "upstream": upstream, "downstream": downstream}
    result = api.post(f"{run_path}/mark-tasks", body)
    print_done(result, f"{result['task_count'] or len(task_ids)} task instances are marked {state}", as_json)


@app.command()
def resources(
    dag_id: DagId,
    task_id: Annotated[str | None, typer.Argument(help="Task id; left out: all tasks.", metavar="[TASK_ID]")] = None,
    request: Annotated[str | None, typer.Option(help="Memory to ask for from the next try on, like 512Mi.")] = None,
    limit: Annotated[str | None, typer.Option(help="Memory to allow at most, like 1Gi.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget what was set and what was learned.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show, set or reset the memory that tasks ask for: set by hand, learned from their latest tries, or configured."""
    from spinner_cli.api import Api, path
    from spinner_cli.errors import CliError

    api = Api()
    changes = request is not None or limit is not None
    if (changes or reset) and task_id is None:
        raise CliError("Which task?", "Name it: `spinner tasks resources DAG_ID TASK_ID --request 512Mi`.")
    if changes and reset:
        raise CliError("--reset goes with neither --request nor --limit.", "Reset first, then set.")
    if task_id is not None and reset:
        api.delete(path("dags", dag_id, "tasks", task_id, "memory"))
        text = f"{task_id} asks for what its definition says, until it has learned again"
        print_done({"dag_id": dag_id, "task_id": task_id, "reset": True}, text, as_json)
        return
    if task_id is not None and changes:
        found = [
            api.put(
                path("dags", dag_id, "tasks", task_id, "memory"), {"memory_request": request, "memory_limit": limit}
            )
        ]
    else:
        found = [task for task in api.get(path("dags", dag_id, "memory")) if task_id in (None, task["task_id"])]
        if task_id is not None and not found:
            raise CliError(f"DAG {dag_id} has no task {task_id}.", f"See `spinner tasks resources {dag_id}`.")
    if as_json:
        print_json(found)
        return
    print_table(
        ["task", "request", "limit", "from", "configured", "learned", "highest of", "tries"],
        [
            [
                task["task_id"],
                size(task["request_bytes"]),
                size(task["limit_bytes"]),
                task["source"],
                f"{size(task['configured_request_bytes']) or '-'} / {size(task['configured_limit_bytes']) or '-'}",
                size(task["learned_request_bytes"]),
                size(max((sample["peak_memory_bytes"] for sample in task["samples"]), default=0)),
                len(task["samples"]) or "",
            ]
            for task in found
        ],
        "The DAG has no tasks.",
    )


@app.command()
def kill(
    dag_id: DagId,
    run_id: RunId,
    task_ids: TaskIds,
    map_index: Annotated[list[int] | None, typer.Option("--map-index", help="Only these mapped instances.")] = None,
    as_json: JsonOption = False,
) -> None:
    """End tries in progress: they fail, without a retry."""
    api, run_path = run_of(dag_id, run_id)
    result = api.post(f"{run_path}/kill-tasks", {"task_ids": task_ids, "map_indexes": map_index or []})
    print_done(result, f"{result['task_count']} tries are being killed", as_json)


def log_line(line: dict[str, Any]) -> str:
    """A line of a LogPage as it stands in the log file."""
    if not line.get("time"):
        return str(line["text"])
    stage = f" {{{line['stage']}}}" if line.get("stage") else ""
    logger = f" {line['logger']}:" if line.get("logger") else ""
    return f"[{line['time']}]{stage} {line.get('level') or 'INFO'}{logger} {line['text']}"


def _log_pages(api: Api, log_path: str) -> Iterator[dict[str, Any]]:
    """Windows of the lines that are there."""
    line = 1
    while True:
        page = api.get(log_path, first_line=line, limit=LOG_LINES)
        yield page
        line += len(page["lines"])
        if len(page["lines"]) < LOG_LINES:
            return


def _task_path(run_path: str, task_id: str, map_index: int) -> str:
    from spinner_cli.api import path

    return run_path + path("tasks", task_id, map_index)
