"""`spinner assets …` and `spinner deadlines`"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spinner_cli.options import JsonOption, Limit, json_object
from spinner_cli.output import print_done, print_facts, print_json, print_table, short_time

app = typer.Typer(help="Assets: what tasks update and DAGs wait for.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the asset.", metavar="NAME")]


@app.command("list")
def list_assets(
    query: Annotated[str | None, typer.Option(help="Only names or URIs that contain this.")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Only those that are not fresh any more.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List assets with who updates them and what they start."""
    from spinner_cli.api import Api

    found = list(Api().items("/assets", query=query, stale=stale or None))
    if as_json:
        print_json(found)
        return
    print_table(
        ["asset", "updated by", "starts", "updates", "latest", "fresh until"],
        [
            [
                asset["name"] + (" (alias)" if asset["alias"] else ""),
                _users(asset["producers"]),
                _users(asset["consumers"]),
                asset["update_count"],
                short_time(asset["last_update_time"]),
                f"stale {short_time(asset['fresh_until'])}".strip()
                if asset["stale"]
                else short_time(asset["fresh_until"]),
            ]
            for asset in found
        ],
        "No asset is stale." if stale else "No DAG names an asset.",
    )


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show an asset: who updates it, and what waits for it."""
    from spinner_cli.api import Api, path

    asset = Api().get(path("assets", name))
    if as_json:
        print_json(asset)
        return
    facts = [("name", asset["name"]), ("kind", "alias" if asset["alias"] else "asset"), ("uri", asset.get("uri"))]
    facts += [("updated by", _users(asset["producers"])), ("starts", _users(asset["consumers"]))]
    facts += [("updates", asset["update_count"]), ("latest", short_time(asset["last_update_time"]))]
    callback = asset["stale_callback"]
    if callback:
        told = f"{callback['state']} (in {callback['dag_id']}, for {short_time(callback['stale_time'])})"
        facts.append(("stale callback", told))
    print_facts(facts)
    if asset["watchers"]:
        print_table(
            ["watcher", "state", "events", "latest", "trigger", "last error"],
            [
                [
                    watcher["name"],
                    watcher["state"],
                    watcher["event_count"],
                    short_time(watcher["last_event_time"]),
                    watcher["trigger_class"],
                    watcher["last_error"],
                ]
                for watcher in asset["watchers"]
            ],
            "",
        )


@app.command()
def partitions(name: Name, limit: Limit = 50, as_json: JsonOption = False) -> None:
    """List the partitions of an asset with the latest update of each, latest first."""
    from spinner_cli.api import Api, path

    found = list(Api().items(path("assets", name, "partitions"), limit=limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ["partition", "time", "by", "runs"],
        [
            [
                entry["partition_key"],
                short_time(entry["update"]["time"]),
                _producer(entry["update"]),
                ", ".join(f"{run['dag_id']}/{run['run_id']}" for run in entry["update"]["runs"]),
            ]
            for entry in found
        ],
        "No partition of it was updated.",
    )


@app.command()
def events(name: Name, limit: Limit = 50, as_json: JsonOption = False) -> None:
    """List the updates of an asset, latest first, and the runs that they led to."""
    from spinner_cli.api import Api, path

    found = list(Api().items(path("assets", name, "events"), limit=limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ["number", "time", "by", "partition", "extra", "runs"],
        [
            [
                event["sequence"],
                short_time(event["time"]),
                _producer(event),
                event["partition_key"],
                event["extra"] or "",
                ", ".join(f"{run['dag_id']}/{run['run_id']}" for run in event["runs"]),
            ]
            for event in found
        ],
        "It was never updated.",
    )


@app.command()
def logs(
    name: Name,
    watcher: Annotated[str, typer.Option(help="Of this watcher; otherwise of the latest stale callback.")] = "",
    tail: Annotated[int, typer.Option("--tail", "-n", min=1, max=5000, help="So many lines of its end.")] = 200,
    as_json: JsonOption = False,
) -> None:
    """Print the end of the log of a watcher, or of the callback that was called when the asset was not fresh."""
    from spinner_cli.api import Api, path
    from spinner_cli.tasks import log_line

    page = Api().get(path("assets", name, "log"), watcher=watcher, tail=tail)
    if as_json:
        print_json(page)
        return
    for line in page["lines"]:
        print(log_line(line))


@app.command()
def update(
    name: Name,
    extra: Annotated[str, typer.Option(help="A JSON object; `@file` reads a file, `@-` standard input.")] = "{}",
    partition_key: Annotated[str, typer.Option(help="Which partition was updated.")] = "",
    request_id: Annotated[str | None, typer.Option(help="The same id is carried out once.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Record an update by hand: DAGs that wait for the asset go on."""
    from spinner_cli.api import Api, path

    body = {"extra": json_object(extra, "--extra"), "partition_key": partition_key, "request_id": request_id}
    print_done(Api().post(path("assets", name, "events"), body), f"{name} is updated", as_json)


def deadlines(
    dag: Annotated[str | None, typer.Option("--dag", help="Only of this DAG.")] = None,
    state: Annotated[str | None, typer.Option(help="pending, at_risk, met, missed, dropped; with commas.")] = None,
    limit: Limit = 50,
    as_json: JsonOption = False,
) -> None:
    """List deadlines of runs and tasks: at risk first, then missed, then those to come."""
    from spinner_cli.api import Api

    found = list(Api().items("/deadlines", limit=limit, dag_id=dag, state=state))
    if as_json:
        print_json(found)
        return
    print_table(
        ["dag", "run", "deadline", "task", "state", "by", "expected"],
        [
            [
                entry["dag_id"],
                entry["run_id"],
                entry["name"],
                entry["task_id"] or "",
                entry["state"],
                short_time(entry["deadline_time"]),
                short_time(entry["expected_end_time"]),
            ]
            for entry in found
        ],
        "There are no deadlines.",
    )


def _users(users: list[dict[str, Any]]) -> str:
    return ", ".join(user["dag_id"] + (f".{user['task_id']}" if user["task_id"] else "") for user in users)


def _producer(event: dict[str, Any]) -> str:
    producer = event["producer"]
    if event["watcher"]:
        return f"watcher {event['watcher']}"
    return f"{producer['dag_id']}.{producer['task_id']}" if producer else event["actor"]
