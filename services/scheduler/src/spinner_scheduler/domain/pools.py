"""A pool is a state machine of its own, kept by the one partition that owns its name.

Tasks of the owner's own DAGs take slots directly: what they hold follows from their states. Tasks of other
partitions ask by `PoolSlotRequested` and are answered by `PoolSlotGranted`; `PoolSlotReleased` gives a slot back or
withdraws the request. A request has a number that rises in the asking partition, so that a late grant of a
withdrawn request can't be taken for the grant of the next one. Invariant: own usage + granted requests ≤ slots,
unless the pool was made smaller meanwhile. `default_pool` and `backfill` exist in each
partition and ask nobody.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from spinner_eventlog.interface import partition_for
from spinner_proto.inbox.v1.inbox_pb2 import PoolSlotRequested

from spinner_scheduler.domain.layout import LOCAL_POOLS
from spinner_scheduler.domain.run import Run

# (dag id, number of the request): a DAG lives in one partition, and its numbers rise there.
RequestKey = tuple[str, int]
# (-priority, date, dag id, run id, slot, request key, run): what waits, in the order it is served.
Entry = tuple[int, int, str, str, int, RequestKey, "Run | None"]
NO_REQUEST: RequestKey = ("", 0)


@dataclass(slots=True)
class RemoteRequest:
    message: PoolSlotRequested
    granted: bool = False


@dataclass(slots=True)
class Pool:
    """A pool as this partition sees it. `slots` < 0: not declared yet, so nobody gets any.

    Of a pool that another partition owns only the queue is used: of tasks that have not asked for a slot yet.
    """

    name: str
    owned: bool = True
    slots: int = -1
    include_deferred: bool = False
    description: str = ""
    # Held by this partition's own tasks.
    used: int = 0
    granted: int = 0
    requests: dict[RequestKey, RemoteRequest] = field(default_factory=dict)
    # Derived: a heap of Entry.
    queue: list[Entry] = field(default_factory=list)

    def free(self) -> int:
        return self.slots - self.used - self.granted

    # -- evolve ------------------------------------------------------------------------------------------------

    def request(self, message: PoolSlotRequested, now: int) -> None:
        key = request_key(message)
        if key not in self.requests:
            self.requests[key] = RemoteRequest(message)
            who = message.try_key
            heapq.heappush(self.queue, (-message.priority, now, who.dag_id, who.run_id, 0, key, None))

    def grant(self, key: RequestKey) -> None:
        found = self.requests.get(key)
        if found is not None and not found.granted:
            found.granted = True
            self.granted += found.message.slots

    def release(self, key: RequestKey) -> None:
        found = self.requests.pop(key, None)
        if found is not None and found.granted:
            self.granted -= found.message.slots


def request_key(message: PoolSlotRequested) -> RequestKey:
    return (message.try_key.dag_id, message.request)


@dataclass(frozen=True, slots=True)
class Address:
    """A partition: where its inbox is."""

    inbox: str
    partition: int


def owner_of(pool: str, here: Address, cluster: str, tiers: tuple[int, ...], partitions: int) -> Address:
    """Returns the partition that owns a pool: of the lowest tier's cell, by a hash of the name."""
    if pool in LOCAL_POOLS:
        return here
    return Address(f"scheduler_inbox-{cluster}_tier_{min(tiers)}", partition_for(pool, partitions))
