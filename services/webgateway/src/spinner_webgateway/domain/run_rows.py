"""Events of runs → rows. Pure.

A run's row says how many task instances it has and counts those with rows by state; the rest is "none".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import asset_rows, words
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.step import Step
from spinner_webgateway.domain.words import clip


def instances(run: Mapping[str, Any]) -> int:
    """Returns how many task instances the run has, mapped ones counted by their expansion."""
    return int(run["layout_tasks"] + sum(max(1, length) - 1 for length in run["expansions"].values()))


def task_counts(run: Mapping[str, Any]) -> dict[str, int]:
    """Returns the number of task instances by state, "none" included, zeros left out."""
    counts = {state: count for state, count in run["counts"].items() if count > 0}
    present = sum(count for state, count in counts.items() if state != "removed")
    waiting = instances(run) - present
    return {"none": waiting, **counts} if waiting > 0 else counts


def run_created(step: Step, event: events_pb2.RunCreated) -> None:
    run = step.run()
    run["run_type"] = words.run_type(event.run_type)
    run["state"] = "queued"
    run["logical_date"] = words.micros(event.logical_date)
    run["data_interval_start"] = words.micros(event.data_interval_start)
    run["data_interval_end"] = words.micros(event.data_interval_end)
    run["run_after"] = words.micros(event.run_after)
    run["order_time"] = words.micros(event.run_after) or words.micros(event.logical_date) or step.time
    run["queued_time"] = step.time
    run["version"] = event.version
    run["actor"] = clip(event.actor.name, 250)
    run["note"] = clip(event.note)
    run["partition_key"] = clip(event.partition_key, 250)
    run["awaiting_layout"] = event.awaiting_layout
    run["backfill_id"] = event.backfill.backfill_id
    run["layout_tasks"] = event.task_count
    if event.HasField("triggered_by"):
        by = event.triggered_by
        run["triggered_by"] = f"{by.dag_id}/{by.run_id}/{by.task_id}/{by.map_index}"
    _conf(run, event.conf)
    asset_rows.consumed(step.rows, step.dag_id, step.run_id, step.time, event.asset_events)
    dag = step.dag()
    if dag["last_run_time"] is None or run["order_time"] >= dag["last_run_time"]:
        dag["last_run_id"] = step.run_id
        dag["last_run_time"] = run["order_time"]
        dag["last_run_state"] = run["state"]


def _conf(run: Row, conf: Any) -> None:
    run["conf"] = conf.inline if conf.WhichOneof("content") == "inline" else b""
    run["conf_key"] = conf.object.key if conf.WhichOneof("content") == "object" else ""


def run_state_changed(step: Step, event: events_pb2.RunStateChanged) -> None:
    run = step.run()
    run["state"] = words.run_state(event.state)
    run["marked"] = event.marked
    run["reason"] = clip(event.reason)
    run["start_time"] = words.micros(event.start_time) or run["start_time"]
    run["end_time"] = words.micros(event.end_time)
    if run["state"] == "running" and run["start_time"] is None:
        run["start_time"] = step.time
    if run["state"] in ("success", "failed") and run["end_time"] is None:
        run["end_time"] = step.time
    known = step.rows.get("dags", (step.dag_id,))
    if known is not None and known["last_run_id"] == step.run_id:
        step.dag()["last_run_state"] = run["state"]


def run_version_changed(step: Step, event: events_pb2.RunVersionChanged) -> None:
    run = step.run()
    run["version"] = event.version
    run["layout_tasks"] = event.task_count
    run["awaiting_layout"] = False


def run_conf_changed(step: Step, event: events_pb2.RunConfChanged) -> None:
    _conf(step.run(), event.conf)


def run_backfill_changed(step: Step, event: events_pb2.RunBackfillChanged) -> None:
    step.run().update(backfill_id=event.backfill.backfill_id, run_type="backfill")
