"""A part of a layout: the tasks that a run is restricted to.

The others are skipped and count for nothing. Order is kept across them: a task of the part waits for the nearest
tasks of the part above it, whatever lies between.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinner_scheduler.domain.layout import Layout


@dataclass(frozen=True, slots=True)
class Part:
    """What stands for the layout's own tables, indexed by the same positions."""

    included: bytes
    down: list[tuple[int, ...]]
    totals: array[int]
    inner: dict[int, int]
    leaves: list[int]


def part_of(layout: Layout, task_ids: tuple[str, ...]) -> Part:
    """Returns the part of these tasks, with the setups that they rely on and their teardowns.

    Ids that the layout does not have say nothing.
    """
    named = {layout.index[task_id] for task_id in task_ids if task_id in layout.index}
    members = named | layout.scopes_of(named)
    included = bytes(position in members for position in range(layout.n))
    above: list[set[int]] = []
    for upstream in layout.up:
        above.append(set().union(*({each} if included[each] else above[each] for each in upstream)))
    down: list[list[int]] = [[] for _ in range(layout.n)]
    for position in members:
        for each in above[position]:
            down[each].append(position)
    group = layout.mapped_group
    counts = [
        included[position] and (not task.is_teardown or task.on_failure_fail_dagrun)
        for position, task in enumerate(layout.tasks)
    ]
    return Part(
        included,
        [tuple(sorted(below)) for below in down],
        array("I", (len(each) for each in above)),
        {position: sum(group[each] == group[position] for each in above[position]) for position in layout.inner},
        [at for at in range(layout.n) if counts[at] and not any(counts[below] for below in down[at])],
    )
