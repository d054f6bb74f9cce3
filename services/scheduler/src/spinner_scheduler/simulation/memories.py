"""Whether what schedulers remember is what the log says: live, restored from snapshots, folded from all events, warm.

Comparing takes long, so it happens now and then, at the end, and where it could go wrong: after something that was
decided ahead was lost, and when a partition is taken over from a standby. All events of a partition are applied to
nothing once, in the order of the log; each comparison applies those that came since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinner_eventlog import topics
from spinner_proto.events.v1.events_pb2 import WorkflowEvents

from spinner_scheduler.adapters.machine import SchedulerMachine, new_state
from spinner_scheduler.domain.evolve import evolve_record
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.simulation import invariants
from spinner_scheduler.simulation.processes import CLUSTER, TIERS, Process
from spinner_scheduler.simulation.violations import require

if TYPE_CHECKING:
    from spinner_scheduler.simulation.world import World


class Memories:
    """Compares what the processes of a world remember; raises ViolatedError."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._suspects: dict[tuple[int, int], None] = {}
        self._folds: dict[tuple[int, int], tuple[PartitionState, int]] = {}
        self._finished: invariants.Finished = {}

    def compare(self, process: Process) -> bool:
        """Live memory equals what the log gives: from snapshots, and from all events alone.

        False when something that it has decided is not in the log yet.
        """
        if not process.awake():
            return True
        places = process.partitions()
        if not all(process.durable(place) for place in places):
            return False
        for place in places:
            if self._world.owner_of(*place) is process:
                self._compare_place(process, place)
        return True

    def _compare_place(self, process: Process, place: tuple[int, int]) -> None:
        world, name = self._world, f"scheduler-{topics.cell(CLUSTER, place[0])}_{place[1]}"
        live = invariants.dump(process.machines[place].state, self._finished)
        fresh = SchedulerMachine(world.log, world.store, world.policy, *place)  # type: ignore[arg-type]
        fresh.restore()
        different = invariants.differences(live, invariants.dump(fresh.state, self._finished))
        require(not different, "snapshots_equal_live_state", f"{name}: {different[:5]}")
        different = invariants.differences(live, invariants.dump(self._folded(*place), self._finished))
        require(not different, "fold_equals_live_state", f"{name}: {different[:5]}")

    def _folded(self, tier: int, partition: int) -> PartitionState:
        """What all events of a partition give, applied to nothing: kept, so that each is applied once."""
        place = (tier, partition)
        world = self._world
        if place not in self._folds:
            self._folds[place] = (new_state(world.log, world.store, world.policy, tier, partition), 0)  # type: ignore[arg-type]
        state, position = self._folds[place]
        at = (topics.events_topic(CLUSTER, tier), partition)
        records, position = world.log.broker.read(at, position, 1_000_000)
        for record in records:
            evolve_record(state, record.decode(WorkflowEvents))
        self._folds[place] = (state, position)
        return state

    def suspect(self, topic: str, partition: int) -> None:
        """What the owner of an inbox had decided was lost: its next memory is compared with the log at once."""
        self._suspects.update(
            dict.fromkeys((tier, partition) for tier in TIERS if topics.inbox_topic(CLUSTER, tier) == topic)
        )

    def look_at_suspects(self) -> None:
        for place in list(self._suspects):
            owner = self._world.owner_of(*place)
            if owner is not None and owner.awake() and place in owner.partitions() and owner.durable(place):
                del self._suspects[place]
                self._compare_place(owner, place)

    def took_over(self, process: Process, place: tuple[int, int], state: PartitionState) -> None:
        """A standby's memory was taken over; the last owner is fenced, so that it must be all that was ever written.

        Looking wakes what sleeps, so only half of them are looked at.
        """
        self._world.totals.warm += 1
        self._world.note(f"{process.name} takes tier {place[0]}, partition {place[1]} over from its standby")
        if self._world.rng.random() < 0.5:
            return
        known = invariants.dump(self._folded(*place), self._finished)
        different = invariants.differences(known, invariants.dump(state, self._finished))
        require(not different, "standby_equals_live_state", f"{process.name} {place}: {different[:5]}")
