"""Rows as they begin: every column of a DAG, a run, a task instance and a try before an event says more."""

from __future__ import annotations

from spinner_webgateway.domain.rows import Row


def new_dag(dag_id: str) -> Row:
    return {
        "dag_id": dag_id,
        "version": "",
        "paused": False,
        "removed": False,
        "next_run_time": None,
        "next_logical_date": None,
        "no_next_run_reason": "",
        "active_runs": 0,
        "cluster": "",
        "tier": 0,
        "partition": 0,
        "last_run_id": "",
        "last_run_time": None,
        "last_run_state": "",
        "updated_time": 0,
    }


def new_run(dag_id: str, run_id: str, time: int) -> Row:
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "run_type": "manual",
        "state": "queued",
        "marked": False,
        "logical_date": None,
        "data_interval_start": None,
        "data_interval_end": None,
        "run_after": None,
        "order_time": time,
        "queued_time": time,
        "start_time": None,
        "end_time": None,
        "version": "",
        "actor": "",
        "note": "",
        "reason": "",
        "partition_key": "",
        "conf": b"",
        "conf_key": "",
        "awaiting_layout": False,
        "triggered_by": "",
        "layout_tasks": 0,
        "expansions": {},
        "counts": {},
        "backfill_id": "",
    }


def new_task(dag_id: str, run_id: str, task_id: str, map_index: int) -> Row:
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "state": "none",
        "marked": False,
        "try_number": 0,
        "failed_try": 0,
        "start_time": None,
        "end_time": None,
        "next_time": None,
        "reason": "",
        "executor": "",
        "worker": "",
        "application_id": "",
    }


def new_try(task: Row, try_number: int) -> Row:
    return {
        "dag_id": task["dag_id"],
        "run_id": task["run_id"],
        "task_id": task["task_id"],
        "map_index": task["map_index"],
        "try_number": try_number,
        "state": "queued",
        "outcome": "",
        "message": "",
        "exit_code": None,
        "queued_time": None,
        "start_time": None,
        "end_time": None,
        "stages": [],
        "peak_memory_bytes": None,
        "read_bytes": None,
        "written_bytes": None,
        "memory_request_bytes": None,
        "memory_limit_bytes": None,
        "memory_source": None,
        "cpu_seconds": None,
        "log_key": "",
        "log_bytes": 0,
        "executor": "",
        "worker": "",
        "application_id": "",
        "builds": {},
        "exception_classes": [],
        "rendered": b"",
        "rendered_key": "",
    }
