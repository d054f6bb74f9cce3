"""`python -m spinner_webgateway.benchmark`: the web API at 3,000 DAGs and 1,000,000 task rows, 250 clients.

Needs a broker (SPINNER_KAFKA) with this installation's topics (SPINNER_TOPIC_PREFIX). Fills a SQLite database of its
own, starts a gateway on it, and asks for what the pages ask for. Prints a table and writes the figures as JSON to
the file given as the first argument.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2

from spinner_webgateway.adapters import database, schema
from spinner_webgateway.domain import facts, new_rows

DAGS = 3000
TASKS = 50
RUNS = 7
"""A DAG's latest runs; with DAGS and TASKS somewhat over a million task rows."""
CLIENTS = 250
THINK_SECONDS = 3.0
"""Between the pages of one person, on average."""
SECONDS = 20.0
BEGIN = 1_764_000_000_000_000
HOUR = 3_600_000_000


def definition(n: int) -> dict[str, Any]:
    message = definitions_pb2.DagDefinition(
        dag_id=f"dag_{n:04d}", version="v1", owner=f"team{n % 40}", tags=["bench"], tier=1 + n % 3, runtime="spinner"
    )
    message.placement.CopyFrom(common_pb2.Placement(cluster="spinner", tier=1, partition=n % 2))
    message.schedule.cron.expressions.append("0 * * * *")
    message.schedule.text = "@hourly"
    message.parsed_time.FromMicroseconds(BEGIN)
    for t in range(TASKS):
        task = message.tasks.add(task_id=f"task_{t:02d}", operator="PythonOperator")
        if t:
            task.upstream.append(t - 1)
    return facts.definition(message)


def rows_of(n: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every row of one DAG."""
    dag_id = f"dag_{n:04d}"
    yield "definitions", definition(n)
    for r in range(RUNS):
        start = BEGIN + r * HOUR
        run = new_rows.new_run(dag_id, f"scheduled__{r:03d}", start)
        run |= {"version": "v1", "state": "success", "start_time": start, "end_time": start + HOUR // 2}
        run |= {"layout_tasks": TASKS, "counts": {"success": TASKS}, "run_type": "scheduled"}
        yield "runs", run
        for t in range(TASKS):
            task = new_rows.new_task(dag_id, run["run_id"], f"task_{t:02d}", -1)
            at = start + t * 1_000_000
            yield "tasks", {**task, "state": "success", "try_number": 1, "start_time": at, "end_time": at + 900_000}
    dag = new_rows.new_dag(dag_id)
    last = {"last_run_id": f"scheduled__{RUNS - 1:03d}", "last_run_time": BEGIN, "last_run_state": "success"}
    yield "dags", {**dag, "version": "v1", "cluster": "spinner", "tier": 1, "partition": n % 2, **last}


def fill(engine: sa.Engine) -> int:
    """Fills the database; returns the number of task rows."""
    tasks = 0
    for first in range(0, DAGS, 50):
        batch: dict[str, list[dict[str, Any]]] = {}
        for n in range(first, first + 50):
            for table, row in rows_of(n):
                batch.setdefault(table, []).append(row)
        tasks += len(batch["tasks"])
        with engine.begin() as connection:
            for table, rows in batch.items():
                database.upsert(connection, schema.VIEWS[table], rows)
    return tasks


def page_of(source: random.Random) -> tuple[str, str]:
    """Returns the kind and path of one request, in the proportions of people's visits."""
    dag = f"dag_{source.randrange(DAGS):04d}"
    run = f"scheduled__{source.randrange(RUNS):03d}"
    kinds: list[tuple[str, Callable[[], str]]] = [
        ("dags", lambda: "/dags?limit=50"),
        (
            "dags, narrowed",
            lambda: f"/dags?query={source.randrange(100):02d}&owner=team{source.randrange(40)}",
        ),
        ("dag", lambda: f"/dags/{dag}"),
        ("grid", lambda: f"/dags/{dag}/grid"),
        ("run", lambda: f"/dags/{dag}/runs/{run}"),
        ("tasks", lambda: f"/dags/{dag}/runs/{run}/tasks"),
        ("runs", lambda: "/runs?limit=50"),
        ("task", lambda: f"/dags/{dag}/runs/{run}/tasks/task_{source.randrange(TASKS):02d}/-1"),
    ]
    kind, path = source.choice(kinds)
    return kind, path()


async def visit(client: httpx.AsyncClient, seed: int, until: float, times: dict[str, list[float]]) -> None:
    source = random.Random(seed)  # noqa: S311 - a load, not a secret
    await asyncio.sleep(source.random() * THINK_SECONDS)
    while time.monotonic() < until:
        kind, path = page_of(source)
        began = time.perf_counter()
        response = await client.get(path)
        times.setdefault(kind, []).append((time.perf_counter() - began) * 1000)
        response.raise_for_status()
        await asyncio.sleep(source.expovariate(1 / THINK_SECONDS))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(kind: str, values: list[float]) -> None:
    p50, p95 = percentile(values, 0.5), percentile(values, 0.95)
    print(f"{kind:16} n {len(values):5}  p50 {p50:7.1f} ms  p95 {p95:7.1f} ms")


async def load(url: str, clients: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60, limits=limits) as client:
        until = time.monotonic() + SECONDS
        await asyncio.gather(*(visit(client, seed, until, times) for seed in range(clients)))
    return times


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str, str]:
    """Starts a gateway on the filled database; returns the process, its address and its status file's text."""
    status = folder / "status.json"
    environment = {
        **os.environ,
        "SPINNER_DATABASE": f"sqlite:///{folder}/views.db",
        "SPINNER_HTTP_ADDRESS": "127.0.0.1:0",
        "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
        "SPINNER_DEVELOPMENT_USER": "bench",
        "SPINNER_STATUS_FILE": str(status),
        "SPINNER_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([sys.executable, "-m", "spinner_webgateway"], env=environment)
    end = time.monotonic() + 60
    while not (status.exists() and '"ready"' in status.read_text()):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit("The gateway did not start: is SPINNER_KAFKA right, and do its topics exist?")
        time.sleep(0.05)
    text = status.read_text()
    return process, f"http://{json.loads(text)['http']}", text


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = database.open_database(f"sqlite:///{folder}/views.db")
        database.migrate(engine)
        began = time.monotonic()
        count = fill(engine)
        engine.dispose()
        print(f"{DAGS:,} DAGs, {count:,} task rows, filled in {time.monotonic() - began:.0f} s")
        process, url, _ = serve(folder)
        try:
            times = asyncio.run(load(url, CLIENTS))
        finally:
            process.terminate()
            process.wait(20)
    whole = [value for values in times.values() for value in values]
    print(f"{CLIENTS} clients, {len(whole) / SECONDS:.0f} requests/s, load {os.getloadavg()[0]:.1f}")
    for kind, values in sorted(times.items()):
        report(kind, values)
    report("all", whole)
    p95 = percentile(whole, 0.95)
    if len(sys.argv) > 1:
        figure = {"name": "api_p95_ms", "value": round(p95, 1), "unit": "ms", "goal": 100, "better": "lower"}
        machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0]}
        result = {"machine": machine, "figures": [{**figure, "runs": 1, "min": p95, "max": p95}]}
        Path(sys.argv[1]).write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
