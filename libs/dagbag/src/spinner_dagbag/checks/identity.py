"""Who a DAG is: ids, tier, roles, owner, structure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from spinner_dagbag.checks.model import DagSubject, Problem, Severity, check
from spinner_dagbag.placement import folder_placement

_ID = re.compile(r"[A-Za-z0-9_.-]{1,250}")
_PERMISSIONS = {"can_dag_read", "can_dag_edit"}
_NOBODY = {"", "airflow", "spinner", "root", "admin", "owner"}


@check("SPN001", "Tier is set", Severity.ERROR, "Add tier=Tier.TIER1, Tier.TIER2 or Tier.TIER3 to DAG(…).")
def tier_is_set(dag: DagSubject) -> Iterator[Problem]:
    if dag.definition.tier not in (1, 2, 3):
        yield Problem(f"DAG {dag.definition.dag_id} has no tier")


@check(
    "SPN002",
    "Access control is set",
    Severity.ERROR,
    'Add access_control={"your-role": {"can_dag_read", "can_dag_edit"}} to DAG(…).',
)
def access_control_is_set(dag: DagSubject) -> Iterator[Problem]:
    if not any(grant.role and grant.permissions for grant in dag.definition.access_control):
        yield Problem(f"DAG {dag.definition.dag_id} names no role that may read or edit it")


@check(
    "SPN003", "Permissions exist", Severity.ERROR, 'Use "can_dag_read" and "can_dag_edit" in access_control of DAG(…).'
)
def permissions_exist(dag: DagSubject) -> Iterator[Problem]:
    for grant in dag.definition.access_control:
        for permission in sorted(set(grant.permissions) - _PERMISSIONS):
            yield Problem(f"Role {grant.role} gets the unknown permission {permission!r}")


@check(
    "SPN004",
    "DAG id is well formed",
    Severity.ERROR,
    "Use 1 to 250 letters, digits, dots, dashes and underscores in dag_id.",
)
def dag_id_is_well_formed(dag: DagSubject) -> Iterator[Problem]:
    if not _ID.fullmatch(dag.definition.dag_id):
        yield Problem(f"DAG id {dag.definition.dag_id[:80]!r} is not an id")


@check(
    "SPN005",
    "Task ids are well formed and unique",
    Severity.ERROR,
    "Give each task its own task_id of 1 to 250 letters, digits, dots, dashes and underscores.",
)
def task_ids_are_well_formed(dag: DagSubject) -> Iterator[Problem]:
    counts = Counter(task.task_id for task in dag.definition.tasks)
    for task_id, count in counts.items():
        if not _ID.fullmatch(task_id):
            yield Problem(f"Task id {task_id[:80]!r} is not an id", task_id)
        if count > 1:
            yield Problem(f"{count} tasks have the id {task_id!r}", task_id)


@check("SPN006", "Dependencies have no cycle", Severity.ERROR, "Remove one of the dependencies that form the cycle.")
def dependencies_have_no_cycle(dag: DagSubject) -> Iterator[Problem]:
    for position, task in enumerate(dag.definition.tasks):
        for upstream in task.upstream:
            if not 0 <= upstream < position:
                yield Problem(f"Task {task.task_id} depends on a task that comes after it", task.task_id)


@check(
    "SPN008",
    "File lies in the folder of its tier",
    Severity.ERROR,
    "Move the file to dags/<cluster>_tier_<tier>_<partition>/<team>/, or change the DAG's tier.",
)
def file_lies_in_its_folder(dag: DagSubject) -> Iterator[Problem]:
    folder = folder_placement(dag.relative_path)
    tier = dag.definition.tier
    if folder is not None and tier in (1, 2, 3) and folder.tier != tier:
        yield Problem(f"DAG {dag.definition.dag_id} is of tier {tier}, but lies in {folder.folder}")


@check(
    "SPN010",
    "Names are not reserved",
    Severity.ERROR,
    "Choose an id that does not begin with two underscores and is not [DAG Final].",
)
def names_are_not_reserved(dag: DagSubject) -> Iterator[Problem]:
    if dag.definition.dag_id.startswith("__"):
        yield Problem(f"DAG id {dag.definition.dag_id} is reserved")
    for task in dag.definition.tasks:
        if task.task_id.startswith("__"):
            yield Problem(f"Task id {task.task_id} is reserved", task.task_id)


@check("SPN015", "Owner exists", Severity.WARNING, "Set owner= in DAG(…) or default_args to the team that is paged.")
def owner_exists(dag: DagSubject) -> Iterator[Problem]:
    owners = {name.strip() for name in dag.definition.owner.split(",")} - {""}
    if not owners or owners <= _NOBODY:
        yield Problem(f"DAG {dag.definition.dag_id} has no owner")
    elif dag.owners is not None:
        for owner in sorted(owners - dag.owners):
            yield Problem(f"Owner {owner!r} is not among the owners of this repository")


@check("SPN031", "DAG has tasks", Severity.WARNING, "Add a task to the DAG, or remove the DAG.")
def dag_has_tasks(dag: DagSubject) -> Iterator[Problem]:
    if not dag.definition.tasks and not dag.definition.dynamic:
        yield Problem(f"DAG {dag.definition.dag_id} has no task")


@check("SPN035", "DAG does not wait for itself", Severity.WARNING, "Name another DAG, or use depends_on_past.")
def dag_does_not_wait_for_itself(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        if task.is_sensor and task.external_dag_id == dag.definition.dag_id:
            yield Problem(f"Sensor {task.task_id} waits for its own DAG", task.task_id)
