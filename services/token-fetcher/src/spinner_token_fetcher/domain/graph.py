"""The graph of a workflow's jobs: order, leaves, priorities, and what must hold of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FINAL_JOB = "final"


class WorkflowInvalidError(Exception):
    """A workflow's structure is wrong. Names the workflow and says how to fix it."""


def with_final(workflow: str, dependencies: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the dependencies (job → its parents) with the final job after all leaves.

    Raises WorkflowInvalidError for an unknown parent, a job named "final", an empty workflow or a cycle.
    """
    if not dependencies:
        raise WorkflowInvalidError(f"Workflow {workflow} has no job. Add a job to its `jobs`.")
    if FINAL_JOB in dependencies:
        raise WorkflowInvalidError(
            f"Workflow {workflow} has a job named final, which is added by itself. Rename the job."
        )
    for job, parents in dependencies.items():
        for parent in parents:
            if parent not in dependencies:
                raise WorkflowInvalidError(
                    f"Job {job} of workflow {workflow} depends on {parent}, which is not in the workflow. "
                    "Add that job, or correct the name."
                )
    graph = {job: list(dict.fromkeys(parents)) for job, parents in dependencies.items()}
    graph[FINAL_JOB] = leaves(graph)
    verify(workflow, graph)
    return graph


def leaves(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the jobs that no job depends on, in the graph's order."""
    parents = {parent for names in graph.values() for parent in names}
    return [job for job in graph if job not in parents]


def verify(workflow: str, graph: Mapping[str, Sequence[str]]) -> None:
    """Raises WorkflowInvalidError unless there are no cycles and exactly one leaf."""
    ordered(workflow, graph)
    found = leaves(graph)
    if len(found) != 1:
        raise WorkflowInvalidError(
            f"Workflow {workflow} has {len(found)} last jobs ({', '.join(found)}), expected exactly one. "
            "Let one job depend on the others."
        )


def ordered(workflow: str, graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the jobs, parents before children, otherwise in the graph's order.

    Raises WorkflowInvalidError for a cycle.
    """
    result: list[str] = []
    state: dict[str, int] = {}
    for start in graph:
        stack = [(start, iter(graph[start]))] if start not in state else []
        if stack:
            state[start] = 1
        while stack:
            job, parents = stack[-1]
            for parent in parents:
                if state.get(parent) == 1:
                    path = [name for name, _ in stack]
                    circle = [*path[path.index(parent) :], parent]
                    raise WorkflowInvalidError(
                        f"Workflow {workflow} has a cycle: {' needs '.join(circle)}. Remove one of these dependencies."
                    )
                if parent not in state:
                    state[parent] = 1
                    stack.append((parent, iter(graph[parent])))
                    break
            else:
                state[job] = 2
                result.append(job)
                stack.pop()
    return result


def scores(workflow: str, graph: Mapping[str, Sequence[str]], priorities: Mapping[str, float]) -> dict[str, float]:
    """Returns for each job the sum of the priorities of itself and all its descendants, each counted once."""
    order = ordered(workflow, graph)
    position = {job: bit for bit, job in enumerate(order)}
    # Sets of descendants as bits: a workflow of thousands of jobs stays cheap.
    below = {job: 1 << position[job] for job in order}
    for job in reversed(order):
        for parent in graph[job]:
            below[parent] |= below[job]
    return {job: _sum(mask, order, priorities) for job, mask in below.items()}


def _sum(mask: int, order: Sequence[str], priorities: Mapping[str, float]) -> float:
    total = 0.0
    while mask:
        low = mask & -mask
        total += priorities[order[low.bit_length() - 1]]
        mask ^= low
    return total
