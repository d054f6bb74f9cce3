"""`spinner explain DAG [RUN [TASK]]`: what it waits for, since when, who holds it, how to end the wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from spinner_cli.options import DagId, JsonOption
from spinner_cli.output import duration, print_json, short_time

SHOWN_PARTIES = 5


def explain(
    dag_id: DagId,
    run_id: Annotated[str | None, typer.Argument(help="Run id; `latest` is the newest.", metavar="RUN_ID")] = None,
    task_id: Annotated[str | None, typer.Argument(help="Task id.", metavar="TASK_ID")] = None,
    map_index: Annotated[int, typer.Option("--map-index", help="One instance of a mapped task; -1: all of it.")] = -1,
    as_json: JsonOption = False,
) -> None:
    """Why is nothing running? Say what a DAG, a run or a task waits for."""
    from spinner_cli.api import Api, path
    from spinner_cli.watching import resolve_run

    api = Api()
    where: list[str | int] = ["dags", dag_id]
    if run_id is not None:
        where += ["runs", resolve_run(api, dag_id, run_id)]
    if task_id is not None:
        where += ["tasks", task_id, map_index]
    found = api.get(path(*where, "explain"))
    if as_json:
        print_json(found)
        return
    subject = found["subject"]
    name = "/".join(part for part in (subject["dag_id"], subject["run_id"], subject["task_id"]) if part)
    print(f"{name} is {found['state']}")
    if not found["reasons"]:
        print("It waits for nothing.")
    for reason in found["reasons"]:
        print()
        for line in _lines(reason):
            print(line)


def _lines(reason: dict[str, Any]) -> list[str]:
    head = f"{reason['code']}{' (a note)' if reason['note'] else ''}  {reason['message']}"
    lines = [head]
    if reason["since"]:
        lines.append(f"  since    {short_time(reason['since'])} ({_ago(reason['since'])})")
    if reason["until"]:
        lines.append(f"  until    {short_time(reason['until'])}")
    lines += _parties("held by", reason["holders"], reason["holder_count"])
    lines += _parties("waiting", reason["waiting"], reason["waiting_count"])
    if reason["fix"]:
        lines.append(f"  fix      {reason['fix']}")
    return lines


def _ago(since: str) -> str:
    return duration(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()))


def _parties(title: str, parties: list[dict[str, Any]], count: int) -> list[str]:
    lines: list[str] = []
    for party in parties[:SHOWN_PARTIES]:
        where = f" of {party['dag_id']}/{party['run_id']}" if party["kind"] == "task" else ""
        state = f" ({party['state']})" if party["state"] else ""
        lines.append(f"  {title if not lines else '':<8} {party['kind']} {party['name']}{where}{state}")
    more = max(count, len(parties)) - len(lines)
    if more > 0:
        lines.append(f"  {'':<8} and {more} more")
    return lines
