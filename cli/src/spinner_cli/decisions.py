"""`spinner decisions …`"""

from __future__ import annotations

from typing import Annotated

import typer

from spinner_cli.options import DagId, JsonOption, Limit, MapIndex, RunId, json_object
from spinner_cli.output import print_done, print_facts, print_json, print_table, short_time
from spinner_cli.runs import run_of

app = typer.Typer(help="What tasks ask people: list, show, decide.", no_args_is_help=True)
TaskId = Annotated[str, typer.Argument(help="Task id.", metavar="TASK_ID")]


@app.command("list")
def list_decisions(
    dag: Annotated[str | None, typer.Option("--dag", help="Only of this DAG.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was decided already.")] = False,
    limit: Limit = 50,
    as_json: JsonOption = False,
) -> None:
    """List what waits for a person, the oldest first."""
    from spinner_cli.api import Api

    found = list(Api().items("/decisions", limit, dag_id=dag, state="" if everything else "waiting"))
    if as_json:
        print_json(found)
        return
    print_table(
        ["DAG", "run", "task", "state", "subject", "options", "asked", "until", "decided by"],
        [
            [
                item["dag_id"],
                item["run_id"],
                item["task_id"] + (f"[{item['map_index']}]" if item["map_index"] >= 0 else ""),
                item["state"],
                item["subject"],
                ", ".join(item["chosen_options"] or item["options"]),
                short_time(item["requested_time"]),
                short_time(item["deadline"]),
                item["decided_by"],
            ]
            for item in found
        ],
        "Nothing waits for a decision.",
    )


@app.command()
def show(dag_id: DagId, run_id: RunId, task_id: TaskId, map_index: MapIndex = -1, as_json: JsonOption = False) -> None:
    """Show what a task asks, and what was decided."""
    from spinner_cli.api import path

    api, run_path = run_of(dag_id, run_id)
    item = api.get(run_path + path("tasks", task_id, map_index, "decision"))
    if as_json:
        print_json(item)
        return
    names = ("state", "subject", "options", "defaults", "multiple", "assignees", "requested_time", "deadline")
    print_facts((name.replace("_", " "), item[name]) for name in names)
    print_facts((f"field {name}", field) for name, field in item["params"].items())
    decided = ("chosen_options", "params_input", "decided_by", "decided_time", "note")
    print_facts((name.replace("_", " "), item[name]) for name in decided)
    if item["body"]:
        print(f"\n{item['body']}")


@app.command()
def decide(
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    choose: Annotated[list[str], typer.Option("--choose", "-c", help="An option; may be given several times.")],
    form: Annotated[str, typer.Option(help="Values of the form, a JSON object; @file reads a file.")] = "",
    note: Annotated[str, typer.Option(help="Why, for others.")] = "",
    map_index: MapIndex = -1,
    as_json: JsonOption = False,
) -> None:
    """Answer what a task asks. The first answer counts."""
    from spinner_cli.api import path

    api, run_path = run_of(dag_id, run_id)
    body = {"chosen_options": choose, "params": json_object(form, "--form") if form else {}, "note": note}
    result = api.post(run_path + path("tasks", task_id, map_index, "decision"), body)
    print_done(result, f"{task_id} goes on with {', '.join(choose)}", as_json)
