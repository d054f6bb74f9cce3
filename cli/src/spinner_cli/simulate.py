"""`spinner simulate`: the scheduler's own core on virtual time; nothing happens (B9)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Annotated, Any

import typer

from spinner_cli.errors import CliError
from spinner_cli.options import JsonOption
from spinner_cli.output import duration, print_json, print_table, short_time

PATIENCE_SECONDS = 150.0


def simulate(
    what: Annotated[
        str | None, typer.Argument(help="A DAG id, or a DAG file or folder that nobody has published.", metavar="DAG")
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.01, max=3650, help="How long; default 30 days.")] = None,
    start: Annotated[str | None, typer.Option(help="ISO time at which it begins; default: now.")] = None,
    backfill: Annotated[
        str | None, typer.Option(help="A backfill instead of the schedule: FROM..TO, two dates.", metavar="FROM..TO")
    ] = None,
    max_active_runs: Annotated[int, typer.Option(min=1, help="Runs of the backfill at once.")] = 1,
    duration_seconds: Annotated[
        float | None,
        typer.Option("--duration", min=0, help="Seconds that each task takes; default: as lately, else 60."),
    ] = None,
    pool: Annotated[list[str] | None, typer.Option(help="Slots of a pool, NAME=SLOTS. May be repeated.")] = None,
    dags: Annotated[int, typer.Option(min=0, max=200_000, help="So many made-up daily DAGs instead, for a day.")] = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=10_000, help="Show at most so many runs.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show what would happen: the runs to come, and the limits that they would wait for."""
    from spinner_cli.api import Api, path

    if (what is None) == (not dags):
        raise CliError("Say what to simulate.", "Give a DAG id, a DAG file or folder, or --dags NUMBER.")
    body: dict[str, Any] = {"max_runs": limit, "pools": dict(_pool(text) for text in pool or [])}
    body |= {name: value for name, value in (("days", days), ("start", start)) if value is not None}
    if duration_seconds is not None:
        body["duration_seconds"] = duration_seconds
    if backfill is not None:
        body["backfill"] = _backfill(backfill) | {"max_active_runs": max_active_runs}
    where = "/simulate"
    if dags:
        body["synthetic_dags"] = dags
    elif what is not None and Path(what).exists():
        body["definitions"] = _definitions(Path(what))
    else:
        where = path("dags", str(what), "simulate")
    found = Api(timeout_seconds=PATIENCE_SECONDS).post(where, body)
    if as_json:
        print_json(found)
        return
    _print(found)


def _pool(text: str) -> tuple[str, int]:
    name, _, slots = text.rpartition("=")
    if not name or not slots.isdigit():
        raise CliError(f"{text!r} is not a pool with its slots.", "Write NAME=SLOTS, for example `etl=4`.")
    return name, int(slots)


def _backfill(text: str) -> dict[str, Any]:
    since, between, until = text.partition("..")
    if not (since and between and until):
        raise CliError(f"{text!r} is not a range of dates.", "Write FROM..TO, for example 2026-11-01..2026-11-07.")
    return {"from_date": since, "to_date": until}


def _definitions(path: Path) -> list[str]:
    """The DAGs of a file or folder, as the API takes them; raises CliError when one can't be parsed."""
    from spinner_dagbag.check_path import bundle_root
    from spinner_dagbag.discovery import dag_files
    from spinner_dagbag.parsing import DagParser

    path = path.resolve()
    root = path if path.is_dir() else bundle_root(path)
    files = dag_files(root) if path.is_dir() else [path.relative_to(root).as_posix()]
    found: list[str] = []
    with DagParser() as parser:
        for parsed in parser.parse_all(root, files):
            if parsed.error is not None:
                raise CliError(f"{parsed.relative_path}: {parsed.error.message}", "See `spinner dags check`.")
            found += [b64encode(definition.SerializeToString()).decode() for definition in parsed.definitions]
    if not found:
        raise CliError(f"There is no DAG in {path}.", "Give a file that makes a DAG, or a folder of such files.")
    return found


def _print(found: dict[str, Any]) -> None:
    print_table(
        ["due", "DAG", "run", "started after", "took", "state", "tasks"],
        [
            [
                short_time(run["due_time"]),
                run["dag_id"],
                run["run_id"] + (f" ({run['partition_key']})" if run.get("partition_key") else ""),
                _between(run["due_time"], run.get("start_time")),
                _between(run.get("start_time"), run.get("end_time")),
                run["state"],
                run["task_count"],
            ]
            for run in found["runs"]
        ],
        "No run would be made.",
    )
    print(
        f"\n{short_time(found['start'])} to {short_time(found['end'])}: {found['run_count']:,} runs "
        f"({found['failed_run_count']:,} failed), {found['task_count']:,} tasks, at most "
        f"{found['peak_running_tasks']:,} at once"
        + (f" ({short_time(found['peak_time'])})" if found.get("peak_time") else "")
        + f"; simulated in {found['seconds']:.1f} s"
    )
    if found["stopped"]:
        print(f"It stopped before its time: {found['stopped']}.")
    if not found["limits"]:
        print("No limit makes anything wait.")
        return
    print("\nLimits that make something wait:")
    print_table(
        ["limit", "of", "size", "waits", "together", "longest", "first"],
        [
            [
                row["kind"],
                row["name"],
                row["limit"],
                row["waits"],
                duration(row["wait_seconds"]),
                duration(row["longest_wait_seconds"]),
                short_time(row["first_time"]),
            ]
            for row in found["limits"]
        ],
        "",
    )


def _between(since: str | None, until: str | None) -> str:
    from datetime import datetime

    if not since or not until:
        return ""
    return duration((datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds())
