"""What tasks may use: memory, CPU, slots, retries, time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from spinner.core.resources import QUANTITIES, escalations, normalized, problems

from spinner_dagbag.checks.model import DagSubject, Problem, Severity, check

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(m|[kKMGTP]i?|)[bB]?\s*")
_FACTORS = {"": 1.0, "m": 0.001} | {
    letter + suffix: float(base**power)
    for power, letter in enumerate("KMGTP", start=1)
    for suffix, base in (("", 1000), ("i", 1024))
}
_FACTORS |= {"k": 1e3, "ki": 1024.0}
_GIB = 1 << 30


@check(
    "SPN009",
    "Memory and CPU are in range",
    Severity.ERROR,
    'Write memory as "512Mi" or "4Gi" and CPU as "500m" or 2, in range, the limit not below the request.',
    max_memory_gib=256,
    min_memory_mib=16,
    max_cpu=64,
    max_storage_gib=1024,
)
def resources_are_in_range(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        resources = dag.resources(task)
        amounts: dict[str, float] = {}
        for name in QUANTITIES:
            if resources.get(name) in (None, ""):
                continue
            amount = quantity(resources[name])
            if amount is None:
                yield Problem(f"Task {task.task_id}: {name}={resources[name]!r} is not a quantity", task.task_id)
                continue
            amounts[name] = amount
            low, high, bounds = _bounds(dag, name)
            if not low <= amount <= high:
                message = f"Task {task.task_id}: {name}={resources[name]!r} is out of range ({bounds})"
                yield Problem(message, task.task_id)
        for kind in ("memory", "cpu", "storage"):
            request, limit = amounts.get(f"request_{kind}"), amounts.get(f"limit_{kind}")
            if request is not None and limit is not None and limit < request:
                yield Problem(f"Task {task.task_id}: limit_{kind} is below request_{kind}", task.task_id)


@check(
    "SPN037",
    "executor_config is understood",
    Severity.ERROR,
    'Write executor_config={"KubernetesExecutor": {…}} with known keys, as a pod\'s specification has them.',
)
def executor_config_is_understood(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        for problem in problems(dag.resources(task)):
            if not problem.startswith(QUANTITIES):  # SPN009 names these
                yield Problem(f"Task {task.task_id}: {problem}", task.task_id)


@check(
    "SPN038",
    "Pods stay unprivileged",
    Severity.ERROR,
    "Remove it from executor_config; ask the platform's owners for a pod template if a task really needs it.",
)
def pods_stay_unprivileged(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        for power in escalations(normalized(dag.resources(task))):
            yield Problem(f"Task {task.task_id}: {power}", task.task_id)


@check(
    "SPN022",
    "Concurrency is bounded",
    Severity.WARNING,
    "Lower max_active_runs or max_active_tasks of DAG(…).",
    max_active_runs=32,
    max_active_tasks=1000,
)
def concurrency_is_bounded(dag: DagSubject) -> Iterator[Problem]:
    for name in ("max_active_runs", "max_active_tasks"):
        value = getattr(dag.definition, name)
        if value > dag.limit(name):
            yield Problem(f"{name}={value} is more than {dag.limit(name):.0f}")
        elif value < 0:
            yield Problem(f"{name}={value} is negative")


@check(
    "SPN023",
    "Number of tasks is bounded",
    Severity.ERROR,
    "Split the DAG, or map one task over its inputs with .expand().",
    max_tasks=10_000,
)
def tasks_are_bounded(dag: DagSubject) -> Iterator[Problem]:
    count = len(dag.definition.tasks)
    if count > dag.limit("max_tasks"):
        yield Problem(f"DAG {dag.definition.dag_id} has {count} tasks, more than {dag.limit('max_tasks'):.0f}")


@check("SPN020", "Retries are bounded", Severity.WARNING, "Lower retries of the task.", max_retries=10)
def retries_are_bounded(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        if task.retries > dag.limit("max_retries"):
            yield Problem(f"Task {task.task_id} retries {task.retries} times", task.task_id)
        elif task.retries < 0:
            yield Problem(f"Task {task.task_id} has retries={task.retries}", task.task_id)


@check(
    "SPN026",
    "Retry delay is sane",
    Severity.WARNING,
    "Set retry_delay between seconds and a day.",
    max_delay_hours=24,
)
def retry_delay_is_sane(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        delay = task.retry_delay.ToTimedelta()
        if task.retries > 0 and not timedelta() <= delay <= timedelta(hours=dag.limit("max_delay_hours")):
            yield Problem(f"Task {task.task_id} waits {delay} before a retry", task.task_id)


@check(
    "SPN021",
    "Time-outs are set",
    Severity.WARNING,
    "Set dagrun_timeout on DAG(…), or execution_timeout in default_args.",
    up_to_tier=1,
)
def timeouts_are_set(dag: DagSubject) -> Iterator[Problem]:
    definition = dag.definition
    if definition.tier > dag.limit("up_to_tier") or definition.HasField("dagrun_timeout"):
        return
    missing = [
        task.task_id for task in definition.tasks if not task.HasField("execution_timeout") and not task.inline_success
    ]
    if missing:
        yield Problem(
            f"{len(missing)} tasks of a tier {definition.tier} DAG may run forever, first {missing[0]}", missing[0]
        )


@check("SPN024", "Pools exist", Severity.WARNING, "Create the pool, or use one that exists.")
def pools_exist(dag: DagSubject) -> Iterator[Problem]:
    if dag.pools is None:
        return
    for task in dag.definition.tasks:
        if task.pool and task.pool not in dag.pools and task.pool != "default_pool":
            yield Problem(f"Task {task.task_id} uses the pool {task.pool!r}, which does not exist", task.task_id)


@check("SPN025", "Slots are sane", Severity.ERROR, "Set pool_slots to 1 or more.", max_slots=1000)
def slots_are_sane(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        if not 0 <= task.pool_slots <= dag.limit("max_slots"):
            yield Problem(f"Task {task.task_id} has pool_slots={task.pool_slots}", task.task_id)


@check("SPN034", "Images are pinned", Severity.WARNING, "Name a tag other than latest, or a digest.")
def images_are_pinned(dag: DagSubject) -> Iterator[Problem]:
    for task in dag.definition.tasks:
        image = dag.resources(task).get("image")
        if isinstance(image, str) and image and "@" not in image:
            _, _, tag = image.rpartition("/")[2].partition(":")
            if tag in ("", "latest"):
                yield Problem(f"Task {task.task_id} runs the image {image!r}, which changes under it", task.task_id)


def quantity(value: object) -> float | None:
    """Returns a Kubernetes quantity ("512Mi", "500m", 2) as a number of bytes or cores; None when it is not one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) * _FACTORS[match[2]] if match else None


def _bounds(dag: DagSubject, name: str) -> tuple[float, float, str]:
    if name.endswith("memory"):
        low, high = dag.limit("min_memory_mib"), dag.limit("max_memory_gib")
        return low * (1 << 20), high * _GIB, f"{low:.0f}Mi to {high:.0f}Gi"
    if name.endswith("storage"):
        return 0.0, dag.limit("max_storage_gib") * _GIB, f"up to {dag.limit('max_storage_gib'):.0f}Gi"
    return 0.001, dag.limit("max_cpu"), f"1m to {dag.limit('max_cpu'):.0f}"
