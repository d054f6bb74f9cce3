"""Refusals with a status, a stable code, what is wrong and where, and how to mend it."""

from __future__ import annotations


class ProblemError(Exception):
    """An answer that is not what was asked for. `status` is the HTTP status."""

    def __init__(self, status: int, code: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.fix = status, code, message, fix


def dag_not_found(dag_id: str) -> ProblemError:
    return ProblemError(
        404,
        "DAG_NOT_FOUND",
        f"There is no DAG {dag_id[:250]!r} in this installation.",
        "Check the spelling; see the list of DAGs, and the parse errors if its file was just added.",
    )


def run_not_found(dag_id: str, run_id: str) -> ProblemError:
    return ProblemError(
        404,
        "RUN_NOT_FOUND",
        f"DAG {dag_id!r} has no run {run_id[:250]!r}.",
        f"See its runs: the DAG's page, `spinner runs list --dag {dag_id}`, or GET /api/v1/dags/{dag_id}/runs.",
    )


def task_not_found(dag_id: str, run_id: str, task_id: str, map_index: int) -> ProblemError:
    return ProblemError(
        404,
        "TASK_NOT_FOUND",
        f"Run {dag_id}/{run_id} has no task {task_id[:250]!r} with map index {map_index}.",
        "See the run's tasks; a task that is not mapped has map index -1.",
    )


def try_not_found(dag_id: str, run_id: str, task_id: str, map_index: int, number: int) -> ProblemError:
    return ProblemError(
        404,
        "TRY_NOT_FOUND",
        f"Task {dag_id}/{run_id}/{task_id}/{map_index} has no try {number}.",
        "Tries are numbered from 1; see the task's page for those that there were.",
    )


def version_not_found(dag_id: str, version: str) -> ProblemError:
    return ProblemError(
        404,
        "VERSION_NOT_FOUND",
        f"DAG {dag_id!r} has no version {version[:250]!r}.",
        f"See its versions: the DAG's page, `spinner dags show {dag_id} --json`, or GET /api/v1/dags/{dag_id}.",
    )


def invalid(code: str, message: str, fix: str) -> ProblemError:
    return ProblemError(400, code, message, fix)
