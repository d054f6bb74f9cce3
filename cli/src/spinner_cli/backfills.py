"""`spinner backfill …`"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from spinner_cli.options import DagId, JsonOption, Limit, json_object
from spinner_cli.output import counts, print_done, print_facts, print_json, print_table, short_time

app = typer.Typer(help="Backfills: runs for the intervals of a range of dates.", no_args_is_help=True)
BackfillId = Annotated[str, typer.Argument(help="Backfill id, from `spinner backfill list`.", metavar="BACKFILL_ID")]
ENDED = ("done", "cancelled")
WATCH_SECONDS = 1.0


@app.command()
def create(
    dag_id: DagId,
    from_date: Annotated[str, typer.Option("--from", help="First logical date, such as 2026-11-01.")],
    to_date: Annotated[str, typer.Option("--to", help="Last logical date, included; a date is the whole day.")],
    backward: Annotated[bool, typer.Option("--backward", help="Latest interval first.")] = False,
    reprocess: Annotated[
        str, typer.Option(help="Which runs that exist run again: none, failed or completed (all that ended).")
    ] = "none",
    max_active_runs: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 10,
    tasks: Annotated[
        str, typer.Option(help="Only these tasks, separated by commas or spaces, with their setups and teardowns.")
    ] = "",
    conf: Annotated[str, typer.Option(help="JSON object for all runs; @file reads a file, @- standard input.")] = "",
    pool: Annotated[str, typer.Option(help="Takes the place of default_pool; default: the pool backfill.")] = "",
    no_alerts: Annotated[bool, typer.Option("--no-alerts", help="Call no callbacks for its runs.")] = False,
    note: Annotated[str, typer.Option(help="Why, for others.")] = "",
    partition_key: Annotated[str, typer.Option(help="Of all its runs, in the place of the schedule's.")] = "",
    override_cap: Annotated[bool, typer.Option("--override-cap", help="Longer than the cap (administrators).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create runs for the intervals of a range of dates, a few at a time."""
    from spinner_cli.api import Api, path

    body = {
        "from_date": from_date,
        "to_date": to_date,
        "run_order": "backward" if backward else "forward",
        "reprocess_behavior": reprocess,
        "max_active_runs": max_active_runs,
        "task_ids": tasks,
        "conf": json_object(conf, "--conf") if conf else {},
        "pool": pool,
        "skip_callbacks": no_alerts,
        "note": note,
        "partition_key": partition_key,
        "override_cap": override_cap,
        "dry_run": dry_run,
    }
    result = Api().post(path("dags", dag_id, "backfills"), body)
    if as_json:
        print_json(result)
    elif dry_run:
        _print_plan(result["plan"])
    else:
        print(f"backfill {result['backfill_id']} of {dag_id} has {result['interval_count']} intervals")
        print(f"  follow it: spinner backfill show {dag_id} {result['backfill_id']} --watch")


def _print_plan(plan: dict[str, Any]) -> None:
    print(
        f"{plan['interval_count']} intervals: {plan['create_count']} new runs, {plan['reprocess_count']} run again, "
        f"{plan['skip_count']} skipped; {plan['task_count']} tasks a run, version {plan['version']}"
    )
    rows = [[item["logical_date"], item["action"], item["run_id"], item["reason"]] for item in plan["intervals"]]
    print_table(["logical date", "action", "run", "why"], rows, "")
    hidden = plan["interval_count"] - len(rows)
    if hidden:
        print(f"… and {hidden} more")


@app.command("list")
def list_backfills(
    dag: Annotated[str | None, typer.Option("--dag", help="Only of this DAG.")] = None,
    state: Annotated[str | None, typer.Option(help="created, running, paused, cancelled or done.")] = None,
    limit: Limit = 50,
    as_json: JsonOption = False,
) -> None:
    """List backfills, newest first."""
    from spinner_cli.api import Api

    found = list(Api().items("/backfills", limit, dag_id=dag, state=state))
    if as_json:
        print_json(found)
        return
    print_table(
        ["DAG", "backfill", "state", "from", "to", "intervals", "runs", "created", "by"],
        [
            [
                item["dag_id"],
                item["backfill_id"],
                item["state"],
                item["from_date"],
                item["to_date"],
                progress(item),
                counts(item["run_counts"]),
                short_time(item["created_time"]),
                item["actor"],
            ]
            for item in found
        ],
        "There are no backfills.",
    )


def progress(item: dict[str, Any]) -> str:
    """How far a backfill is: `12 of 31 ended`."""
    ended = item["skip_count"] + item["run_counts"].get("success", 0) + item["run_counts"].get("failed", 0)
    return f"{ended} of {item['interval_count']} ended"


@app.command()
def show(
    dag_id: DagId,
    backfill_id: BackfillId,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until it ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a backfill, how far it is, and its intervals."""
    from spinner_cli.api import Api, path

    api, where = Api(), path("dags", dag_id, "backfills", backfill_id)
    item = api.get(where)
    said = ""
    while watch and item["state"] not in ENDED:
        line = f"{item['state']}: {progress(item)}; {counts(item['run_counts'])}"
        if line != said and not as_json:
            print(line, flush=True)
        said = line
        time.sleep(WATCH_SECONDS)
        item = api.get(where)
    intervals = list(api.items(f"{where}/intervals"))
    if as_json:
        print_json({**item, "intervals": intervals})
        return
    names = ("state", "reason", "from_date", "to_date", "run_order", "reprocess_behavior", "max_active_runs", "pool")
    print_facts((name.replace("_", " "), item[name]) for name in (*names, "task_ids", "version", "actor", "note"))
    print_facts([("progress", progress(item)), ("runs", counts(item["run_counts"]))])
    rows = [[i["logical_date"], i["action"], i["run_id"], i["run_state"], i["reason"]] for i in intervals]
    print_table(["logical date", "action", "run", "state", "why"], rows, "No interval has been taken up yet.")


@app.command()
def pause(dag_id: DagId, backfill_id: BackfillId, as_json: JsonOption = False) -> None:
    """Make no further runs until it is resumed; those in progress go on."""
    result = _change(dag_id, backfill_id, {"state": "paused"})
    print_done(result, f"backfill {backfill_id} of {dag_id} is paused", as_json)


@app.command()
def resume(dag_id: DagId, backfill_id: BackfillId, as_json: JsonOption = False) -> None:
    """Go on with a paused backfill."""
    result = _change(dag_id, backfill_id, {"state": "running"})
    print_done(result, f"backfill {backfill_id} of {dag_id} goes on", as_json)


@app.command()
def cancel(
    dag_id: DagId,
    backfill_id: BackfillId,
    stop_runs: Annotated[bool, typer.Option("--stop-runs", help="Also end its running runs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make no further runs and end the queued ones; running ones go on unless they are stopped."""
    result = _change(dag_id, backfill_id, {"state": "cancelled", "stop_runs": stop_runs})
    text = f"backfill {backfill_id} of {dag_id} is cancelled; {result['task_count']} of its runs were ended"
    print_done(result, text, as_json)


def _change(dag_id: str, backfill_id: str, body: dict[str, Any]) -> Any:
    from spinner_cli.api import Api, path

    return Api().patch(path("dags", dag_id, "backfills", backfill_id), body)
