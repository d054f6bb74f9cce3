"""One run as its events tell it."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field

from spinner_proto.common.v1.common_pb2 import TaskState

LAYOUT_TASK = "__layout__"
NONE = int(TaskState.TASK_STATE_NONE)
OPEN = frozenset(
    {
        int(TaskState.TASK_STATE_QUEUED),
        int(TaskState.TASK_STATE_RUNNING),
        int(TaskState.TASK_STATE_DEFERRED),
        int(TaskState.TASK_STATE_RESTARTING),
    }
)
HOLDING = OPEN - {int(TaskState.TASK_STATE_DEFERRED)}
FINISHED = frozenset(
    {
        int(TaskState.TASK_STATE_SUCCESS),
        int(TaskState.TASK_STATE_FAILED),
        int(TaskState.TASK_STATE_SKIPPED),
        int(TaskState.TASK_STATE_UPSTREAM_FAILED),
        int(TaskState.TASK_STATE_REMOVED),
    }
)


@dataclass(slots=True)
class Instance:
    """A task instance: its state, the latest try and segment, and whether that try has begun and not ended."""

    state: int = NONE
    try_number: int = 0
    segment: int = 0
    open: bool = False


@dataclass(slots=True)
class RunHistory:
    """`packed`: the instances of an ended run, in little room; `unpack` before looking at `instances`."""

    version: str = ""
    state: int = 0
    backfill_id: str = ""
    instances: dict[tuple[str, int], Instance] = field(default_factory=dict)
    packed: bytes = b""

    def instance(self, task_id: str, map_index: int) -> Instance:
        self.unpack()
        found = self.instances.get((task_id, map_index))
        if found is None:
            found = self.instances[(task_id, map_index)] = Instance()
        return found

    def open_tries(self) -> int:
        return sum(instance.open for instance in self.instances.values())

    def holding(self) -> int:
        return sum(
            instance.state in HOLDING for (task_id, _), instance in self.instances.items() if task_id != LAYOUT_TASK
        )

    def pack(self) -> None:
        """Shrinks a run whose tries have all ended."""
        rows = [
            (task_id, map_index, instance.state, instance.try_number, instance.segment)
            for (task_id, map_index), instance in self.instances.items()
        ]
        self.packed = zlib.compress(json.dumps(rows, separators=(",", ":")).encode())
        self.instances = {}

    def unpack(self) -> None:
        if self.packed:
            for task_id, map_index, state, try_number, segment in json.loads(zlib.decompress(self.packed)):
                self.instances[(task_id, map_index)] = Instance(state, try_number, segment)
            self.packed = b""
