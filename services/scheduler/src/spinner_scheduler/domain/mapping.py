"""How long an expansion is, from lengths alone: the scheduler never sees the values."""

from __future__ import annotations

from math import prod

from spinner_proto.definitions.v1.definitions_pb2 import MapLength

from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.states import EXPANDED, SUCCESS

DEFAULT_MAX_MAP_LENGTH = 1024


def evaluate(length: MapLength, run: Run) -> int | None:
    """Returns the number of instances, None when a task that it depends on gave no length."""
    kind = length.WhichOneof("kind")
    if kind == "literal":
        return length.literal
    if kind == "task":
        return _of_task(length.task, run)
    if kind is None:
        return None
    items = [evaluate(item, run) for item in getattr(length, kind).items]
    known = [item for item in items if item is not None]
    if len(known) != len(items):
        return None
    if kind == "product":
        return prod(known)
    if kind == "zip_shortest":
        return min(known, default=0)
    if kind == "zip_longest":
        return max(known, default=0)
    return sum(known)


def _of_task(position: int, run: Run) -> int | None:
    if run.states[position] == EXPANDED:
        # Of a mapped task: one element for each instance that succeeded.
        return sum(1 for slot in run.instances[position] if run.states[slot] == SUCCESS)
    if run.states[position] != SUCCESS:
        return None
    found = run.lengths.get(position, -1)
    return found if found >= 0 else None


def sources(length: MapLength) -> set[int]:
    """Returns the positions of the tasks whose values give the length."""
    kind = length.WhichOneof("kind")
    if kind == "task":
        return {length.task}
    if kind in (None, "literal"):
        return set()
    return set().union(*(sources(item) for item in getattr(length, kind or "").items))
