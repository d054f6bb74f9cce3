"""One run as flat arrays: the state of every task instance and the counters its dependants are decided by.

Slots 0 … n-1 belong to the tasks of the layout by position; the instances of mapped tasks are appended behind them
and the mapped task's own slot becomes EXPANDED. Invariants: `counts[c][slot]` is the number of upstream instances
of that slot in category c, `totals[slot]` the number of upstream instances there will be; a state change costs the
out-degree. An instance of a mapped group's task counts its upstream instances of the same map index in its own
slot and shares the counts of all other upstream tasks with its siblings in the slot of the task.
"""

from __future__ import annotations

from array import array

from spinner_proto.common.v1.common_pb2 import Blob
from spinner_proto.events.v1.events_pb2 import RunCreated
from spinner_proto.inbox.v1.inbox_pb2 import TaskDeferred
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_scheduler.domain import times
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.states import CATEGORY, EXPANDED, FINISHED, HOLDING, MOVING, NONE, REMOVED, RUN_QUEUED

# Tasks of backfills queue behind all others of their priority.
_BEHIND = 1_000 * 365 * 86_400 * times.SECOND

LAYOUT_TASK = "__layout__"
CALLBACK_TASK = "__callback__"
"""Task id of the DAG's callbacks; those of a task have its id behind a dot."""


def is_callback(task_id: str) -> bool:
    return task_id == CALLBACK_TASK or task_id.startswith(CALLBACK_TASK + ".")


class Run:
    """Mutable; changed only by `evolve`."""

    __slots__ = (
        "awaiting_layout", "base", "cancelled", "confs", "counts", "dag_id", "deadline_states", "deadlines",
        "deferrals", "dirty", "down", "end", "ends", "ext_index", "ext_pos", "facts", "first_start", "free",
        "granted", "holding", "instances", "layout", "layout_try", "leaves", "lengths", "limited", "logical",
        "moving", "next_time", "order_facts", "parked", "part", "pending", "pools", "priority_date", "reason",
        "rebind", "remap", "requests", "resumes", "run_id", "segments", "sequences", "since", "skip_by",
        "skips", "start", "state", "state_time", "states", "task_holding", "totals", "tries", "unfinished",
        "wanted",
    )  # fmt: skip

    def __init__(self, dag_id: str, run_id: str, layout: Layout, facts: RunCreated) -> None:
        self.dag_id = dag_id
        self.run_id = run_id
        self.facts = facts
        self.logical = times.from_timestamp(facts.logical_date)
        self.state = RUN_QUEUED
        # When it came into its state, µs.
        self.state_time = 0
        self.start = 0
        self.end = 0
        self.reason = ""
        self.ends = 0
        # Its deadlines by their position in the definition: when they are, and how they stand (DeadlineState).
        self.deadlines: dict[int, int] = {}
        self.deadline_states: dict[int, int] = {}
        self.awaiting_layout = facts.awaiting_layout
        self.layout_try = 0
        # The version that it takes when its tries in progress have ended.
        self.rebind = ""
        self.bind(layout)

    def bind(self, layout: Layout) -> None:
        """Starts from nothing with this layout."""
        n = layout.n
        backfill = self.facts.backfill
        self.layout = layout
        self.priority_date = times.from_timestamp(self.facts.run_after) + (_BEHIND if backfill.backfill_id else 0)
        self.pools = layout.pools_with(backfill.pool) if backfill.pool else layout.pools
        self.part = layout.part(tuple(backfill.task_ids)) if backfill.task_ids else None
        self.down = self.part.down if self.part else layout.down
        self.leaves = self.part.leaves if self.part else layout.leaves
        self.states = bytearray([NONE]) * n
        self.tries = array("H", bytes(2 * n))
        self.segments = array("H", bytes(2 * n))
        # When each instance came into its state, in seconds: nothing decides by it, people ask for it. 0: unknown.
        self.since = array("I", bytes(4 * n))
        zero = bytes(4 * n)
        # Index 0 is unused so that a category is the index.
        self.counts = [array("I"), *(array("I", zero) for _ in range(4))]
        self.totals = array("I", self.part.totals if self.part else layout.totals)
        self.ext_pos = array("I")
        self.ext_index = array("I")
        self.instances: dict[int, list[int]] = {}
        self.unfinished = n
        self.moving = 0
        self.holding = 0
        # Times at which UP_FOR_RETRY and UP_FOR_RESCHEDULE go on.
        self.next_time: dict[int, int] = {}
        self.sequences: dict[int, int] = {}
        self.first_start: dict[int, int] = {}
        # Tries that don't count against the retries: those before the last clear, and infrastructure's.
        self.base: dict[int, int] = {}
        self.free: dict[int, int] = {}
        self.lengths: dict[int, int] = {}
        # What single instances see instead of the run's conf.
        self.confs: dict[int, Blob] = {}
        # Branch decisions: by the deciding instance, and by the position of the skipped task.
        self.skips: dict[int, list[int]] = {}
        self.skip_by: dict[int, set[int]] = {}
        self.deferrals: dict[int, TaskDeferred] = {}
        self.resumes: dict[int, tuple[bytes, str]] = {}
        self.cancelled: dict[int, int] = {}
        # Why the executor's cluster does not start a try yet, in its words.
        self.pending: dict[int, str] = {}
        # Slots of pools owned by other partitions: the open request, and whether it is granted.
        self.requests: dict[int, int] = {}
        self.granted: set[int] = set()
        self.remap: set[int] = set()
        # Derived, not part of the state: what has to be looked at, and who waits in a queue.
        self.dirty: list[int] = list(range(n) if self.part else layout.first)
        self.wanted: set[int] = set()
        self.parked: list[tuple[int, int]] = []
        self.task_holding: dict[int, int] = {}
        self.limited = bool(layout.limits)
        # A cache of `orders`: what all orders of the run say, and what that depends on.
        self.order_facts: tuple[int, tuple[int, int, int] | None, TaskOrder] | None = None

    def __lt__(self, other: Run) -> bool:
        # Queues hold tuples that end with a run; equal entries for one instance are allowed.
        return False

    # -- instances ---------------------------------------------------------------------------------------------

    def position(self, slot: int) -> int:
        """The position of the task that an instance belongs to."""
        n = self.layout.n
        return slot if slot < n else self.ext_pos[slot - n]

    def map_index(self, slot: int) -> int:
        n = self.layout.n
        return -1 if slot < n else self.ext_index[slot - n]

    def slot(self, task_id: str, map_index: int) -> int:
        """The slot of a task instance, -1 when there is none."""
        position = self.layout.index.get(task_id, -1)
        if position < 0 or map_index < 0:
            return position
        slots = self.instances.get(position)
        if slots is None or map_index >= len(slots):
            return -1
        return slots[map_index]

    def slots_of(self, position: int) -> list[int]:
        """All instances of a task: its own slot, or those of its expansion."""
        if self.states[position] == EXPANDED:
            return self.instances[position]
        return [position]

    def live_slots(self) -> list[int]:
        """All slots that stand for a task instance."""
        return [slot for slot, state in enumerate(self.states) if state not in (EXPANDED, REMOVED)]

    def map_length(self, position: int) -> int:
        """Number of instances of a mapped task, 0 while it is not expanded."""
        if self.states[position] != EXPANDED:
            return 0
        slots = self.instances[position]
        if REMOVED not in self.states:
            return len(slots)
        return sum(1 for slot in slots if self.states[slot] != REMOVED)

    def undecided(self) -> list[int]:
        """The instances that a run which starts or goes on has to look at."""
        states = self.states
        if self.unfinished == self.layout.n == states.count(NONE) == len(states):
            return list(range(self.layout.n) if self.part else self.layout.first)
        return [slot for slot, state in enumerate(states) if state == NONE]

    # -- changes -----------------------------------------------------------------------------------------------

    def set_state(self, slot: int, new: int) -> int:
        """Changes an instance's state, keeps counters, notes who has to be looked at; returns the old state."""
        states = self.states
        old = states[slot]
        if old == new:
            return old
        states[slot] = new
        self.unfinished += FINISHED[old] - FINISHED[new]
        self.moving += MOVING[new] - MOVING[old]
        self.holding += HOLDING[new] - HOLDING[old]
        before, after = CATEGORY[old], CATEGORY[new]
        if before != after:
            self._count(slot, before, after)
        if new == NONE:
            self.dirty.append(slot)
        return old

    def _count(self, slot: int, before: int, after: int) -> None:
        layout = self.layout
        n = layout.n
        position = slot if slot < n else self.ext_pos[slot - n]
        counts, states, dirty = self.counts, self.states, self.dirty
        group = layout.mapped_group[position]
        for below in self.down[position]:
            target = below
            if slot >= n and group and layout.mapped_group[below] == group and states[below] == EXPANDED:
                target = self.instances[below][self.ext_index[slot - n]]
            if before:
                counts[before][target] -= 1
            if after:
                counts[after][target] += 1
            if states[target] == NONE or states[target] == EXPANDED:
                dirty.append(target)
        if layout.has_setups:
            for dependent in layout.setup_dependents.get(position, ()):
                dirty.extend(other for other in self.slots_of(dependent) if states[other] == NONE)

    def expand(self, position: int, length: int, seconds: int = 0) -> None:
        """Gives a mapped task its instances, or another number of them; those too many become REMOVED.

        `seconds`: since when there are new ones.
        """
        layout = self.layout
        slots = self.instances.setdefault(position, [])
        group = layout.mapped_group[position]
        inner = (self.part.inner if self.part else layout.inner).get(position, 0)
        first = self.states[position] != EXPANDED
        before = 1 if first else self.map_length(position)
        if first:
            self.set_state(position, EXPANDED)
            self.totals[position] -= inner
        for index in range(len(slots), length):
            slot = len(self.states)
            slots.append(slot)
            self.states.append(NONE)
            self.tries.append(0)
            self.segments.append(0)
            self.since.append(seconds)
            for category in range(1, 5):
                self.counts[category].append(0)
            self.totals.append(inner)
            self.ext_pos.append(position)
            self.ext_index.append(index)
            self.unfinished += 1
            self.dirty.append(slot)
        for index, slot in enumerate(slots):
            if index >= length:
                self.set_state(slot, REMOVED)
            elif self.states[slot] == REMOVED:
                self.set_state(slot, NONE)
        for below in self.down[position]:
            if not (group and layout.mapped_group[below] == group):
                self.totals[below] += length - before
                self.dirty.append(below)
        self.remap.discard(position)

    def recount(self) -> None:
        """Rebuilds the sums over states; for a run read from a snapshot."""
        self.unfinished = self.moving = self.holding = 0
        for state in range(EXPANDED + 1):
            number = self.states.count(state)
            if number:
                self.unfinished += number * (1 - FINISHED[state])
                self.moving += number * MOVING[state]
                self.holding += number * HOLDING[state]
        if self.limited:
            self.task_holding = {}
            for position in self.layout.limits:
                held = sum(HOLDING[self.states[slot]] for slot in self.slots_of(position))
                if held:
                    self.task_holding[position] = held

    # -- questions ---------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return self.layout.version

    def next_try(self, slot: int) -> int:
        """Number of the try that an order would be of."""
        return self.tries[slot] + (0 if slot in self.resumes else 1)

    @property
    def backfill_id(self) -> str:
        """The backfill that the run belongs to, "" for none."""
        return self.facts.backfill.backfill_id

    def excludes(self, position: int) -> bool:
        """Whether the run is restricted to other tasks."""
        return self.part is not None and not self.part.included[position]

    def attempts(self, slot: int) -> int:
        """Tries that count against the retries."""
        return self.tries[slot] - self.base.get(slot, 0) - self.free.get(slot, 0)
