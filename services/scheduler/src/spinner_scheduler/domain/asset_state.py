"""What an owner knows of an asset or alias: who subscribed, who uses it, what its watchers told last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

from spinner_proto.events.v1.events_pb2 import WatcherChanged
from spinner_proto.inbox.v1.inbox_pb2 import AssetSubscribed, AssetUsed

from spinner_scheduler.domain import times

# Whether it is an alias, and its name.
AssetKey = tuple[bool, str]

# What counts for the same asset or alias and partition.
PartKey = tuple[AssetKey, str]


def asset_text(key: AssetKey) -> str:
    """Returns an asset's or alias's key as text: that of its records."""
    return f"{'alias' if key[0] else 'asset'}:{key[1]}"


def event_hash(event_id: str) -> int:
    """Returns what is remembered of the id of a watcher's event."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest())


@dataclass(slots=True)
class Watcher:
    """A watcher as it was told last as a whole, and hashes of the events that were counted last, oldest first."""

    told: WatcherChanged = field(default_factory=WatcherChanged)
    seen: OrderedDict[int, None] = field(default_factory=OrderedDict)


@dataclass(slots=True)
class AssetState:
    """An asset or alias that this partition owns."""

    subscribers: dict[str, AssetSubscribed] = field(default_factory=dict)
    last_sequence: int = 0
    last_time: int = 0
    # Of an asset: by DAG what it wants to be done, and watchers by name, stopped ones too.
    users: dict[str, AssetUsed] = field(default_factory=dict)
    watchers: dict[str, Watcher] = field(default_factory=dict)
    # Since when it is used; when it was last said to be stale, later each time whatever definitions do.
    first_used: int = 0
    stale_time: int = 0

    def stale_at(self) -> int:
        """When it is fresh no longer, 0 for never."""
        limits = [times.from_duration(user.freshness) for user in self.users.values() if user.HasField("freshness")]
        return (self.last_time or self.first_used) + min(limits) if limits else 0
