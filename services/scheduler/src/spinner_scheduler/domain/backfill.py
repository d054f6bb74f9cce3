"""What a partition remembers of a backfill: its request, its state, and how far it has come.

States: created → running ⇄ paused, and from each of them to cancelled; running → done. Cancelled and done are final.
The intervals are not remembered: they follow from the schedule of the version that was current at its creation, and
are taken up one after the other, each once; `last` is the cursor. Its runs know their backfill, not the other way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spinner_proto.events.v1.events_pb2 import BackfillAdvanced, BackfillCreated, BackfillState
from spinner_proto.inbox.v1.inbox_pb2 import RunOrder
from spinner_proto.snapshots.v1.snapshots_pb2 import BackfillSnapshot

from spinner_scheduler.domain import times
from spinner_scheduler.domain.schedules import Tick

CREATED = int(BackfillState.BACKFILL_STATE_CREATED)
RUNNING = int(BackfillState.BACKFILL_STATE_RUNNING)
PAUSED = int(BackfillState.BACKFILL_STATE_PAUSED)
CANCELLED = int(BackfillState.BACKFILL_STATE_CANCELLED)
DONE = int(BackfillState.BACKFILL_STATE_DONE)
STATE_NAMES = {CREATED: "created", RUNNING: "running", PAUSED: "paused", CANCELLED: "cancelled", DONE: "done"}
# Which states each can become.
TRANSITIONS = {
    CREATED: (RUNNING, PAUSED, CANCELLED),
    RUNNING: (PAUSED, CANCELLED, DONE),
    PAUSED: (RUNNING, CANCELLED),
    CANCELLED: (),
    DONE: (),
}


@dataclass(slots=True)
class Backfill:
    """Mutable; changed only by `evolve`. Times in µs."""

    created: BackfillCreated
    state: int = CREATED
    taken: int = 0
    # Logical date of the interval taken up last, 0 for none.
    last: int = 0
    # Derived: all its intervals, oldest first; empty until they are asked for.
    ticks: list[Tick] = field(default_factory=list, compare=False)

    @property
    def backfill_id(self) -> str:
        return self.created.request.backfill_id

    @property
    def ended(self) -> bool:
        return self.state in (CANCELLED, DONE)

    @property
    def backward(self) -> bool:
        return self.created.request.run_order == RunOrder.RUN_ORDER_BACKWARD

    def advance(self, event: BackfillAdvanced) -> None:
        self.taken += len(event.intervals)
        self.last = times.from_timestamp(event.intervals[-1].logical_date)

    def change(self, new: int) -> None:
        """Raises ValueError for a transition that does not exist."""
        if new not in TRANSITIONS[self.state]:
            raise ValueError(f"backfill {self.backfill_id} can't go from {STATE_NAMES[self.state]} to {new}")
        self.state = new
        if self.ended:
            self.ticks = []
            del self.created.request.known_runs[:]

    def snapshot(self) -> BackfillSnapshot:
        return BackfillSnapshot(
            created=self.created,
            state=self.state,  # type: ignore[arg-type]
            taken_count=self.taken,
            last_logical_date=times.to_timestamp(self.last),
        )

    @classmethod
    def restore(cls, kept: BackfillSnapshot) -> Backfill:
        created = BackfillCreated()
        created.CopyFrom(kept.created)
        return cls(created, int(kept.state), kept.taken_count, times.from_timestamp(kept.last_logical_date))

    def dump(self) -> tuple[Any, ...]:
        """All that decisions depend on, comparable."""
        return str(self.created), self.state, self.taken, self.last
