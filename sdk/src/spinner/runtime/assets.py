"""Assets while a task runs: what it says of the assets that it updates, and what started its run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from spinner_proto.inbox.v1 import inbox_pb2 as inbox

from spinner.core.assets import Asset, AssetAlias, Metadata, asset_of
from spinner.core.partitions import check_key
from spinner.core.values import encode_json
from spinner.exceptions import SpinnerException


class OutletEvent:
    """What the try says of one outlet: ``extra`` of its event; ``add(asset, extra)`` for each asset of an alias.

    ``add(partition_key=…)``, or ``add_partition(…)``, for each partition that was updated; without any, it is the
    one of the run.
    """

    def __init__(self, outlet: Asset | AssetAlias) -> None:
        self._outlet = outlet
        self.extra: dict[str, Any] = {}
        self.added: list[tuple[Asset, dict[str, Any], str]] = []

    def add(
        self,
        asset: Asset | str | None = None,
        extra: Mapping[str, Any] | None = None,
        *,
        partition_key: str = "",
    ) -> None:
        """Publishes an event of the asset; through the alias when this is one's. Raises SpinnerException."""
        if isinstance(self._outlet, Asset):
            if not partition_key:
                self.extra.update(extra or {})
                return
            asset = self._outlet
        elif asset is None:
            raise SpinnerException(f"add() of alias {self._outlet.name!r} has no asset. Pass the one that was updated.")
        found = Asset(asset) if isinstance(asset, str) else asset
        self.added.append((found, dict(extra or {}), check_key(partition_key)))

    def add_partition(self, partition_key: str, extra: Mapping[str, Any] | None = None) -> None:
        """Says that a partition of this asset was updated."""
        self.add(None, extra, partition_key=partition_key)


class OutletEvents(Mapping[Any, OutletEvent]):
    """``outlet_events[asset]``: by asset, alias, or their name."""

    def __init__(self, outlets: Iterable[Any]) -> None:
        self._events = {outlet: OutletEvent(outlet) for outlet in map(asset_of, outlets)}

    def __getitem__(self, key: Any) -> OutletEvent:
        wanted: list[Asset | AssetAlias] = [Asset(key), AssetAlias(key)] if isinstance(key, str) else [key]
        for item in wanted:
            if item in self._events:
                return self._events[item]
        raise KeyError(f"{key!r} is not in the task's outlets, which are {list(self._events)}")

    def __iter__(self) -> Iterator[Any]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def take(self, metadata: Metadata) -> None:
        """Takes what the task yielded."""
        if metadata.alias is not None:
            self[metadata.alias].add(metadata.asset, metadata.extra, partition_key=metadata.partition_key)
        else:
            self[metadata.asset].add(None, metadata.extra, partition_key=metadata.partition_key)

    def report(self) -> list[inbox.AssetUpdated]:
        """One event for each asset and partition; those that came through several aliases are one."""
        events: dict[tuple[str, str, str], inbox.AssetUpdated] = {}

        def note(asset: Asset, extra: dict[str, Any], key: str, alias: str = "") -> None:
            text = encode_json(extra, f"The extra of asset {asset.name!r}").decode() if extra else ""
            made = inbox.AssetUpdated(asset=asset.name, extra_json=text, partition_key=key)
            event = events.setdefault((asset.name, text, key), made)
            if alias and alias not in event.aliases:
                event.aliases.append(alias)

        for outlet, said in self._events.items():
            own = isinstance(outlet, Asset)
            if isinstance(outlet, Asset) and (said.extra or not said.added):
                note(outlet, said.extra, "")
            for asset, extra, key in said.added:
                note(asset, extra, key, "" if own else outlet.name)
        return list(events.values())


class AssetEvent:
    """An update of an asset."""

    def __init__(self, update: inbox.AssetUpdated) -> None:
        self.asset = Asset(update.asset)
        self.name = self.uri = update.asset
        self.extra: dict[str, Any] = json.loads(update.extra_json) if update.extra_json else {}
        self.partition_key = update.partition_key or None
        self.timestamp: datetime = update.time.ToDatetime(tzinfo=UTC)
        self.aliases = list(update.aliases)
        producer = update.producer
        self.source_dag_id = producer.dag_id or None
        self.source_run_id = producer.run_id or None
        self.source_task_id = producer.task_id or None
        self.source_map_index = producer.map_index if producer.dag_id else None

    def __repr__(self) -> str:
        return f"<AssetEvent {self.name} {self.timestamp.isoformat()}>"


class AssetEvents(Mapping[Any, list[AssetEvent]]):
    """Events by asset, oldest first; a key may be an asset, an alias or a name, iteration gives assets."""

    def __init__(self, updates: Iterable[inbox.AssetUpdated]) -> None:
        self._events: dict[Asset, list[AssetEvent]] = {}
        self._by_alias: dict[str, list[AssetEvent]] = {}
        for update in updates:
            event = AssetEvent(update)
            self._events.setdefault(event.asset, []).append(event)
            for alias in event.aliases:
                self._by_alias.setdefault(alias, []).append(event)

    def __getitem__(self, key: Any) -> list[AssetEvent]:
        if isinstance(key, AssetAlias):
            return self._by_alias[key.name]
        return self._events[Asset(key) if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)


def drain(result: Any, events: OutletEvents) -> Any:
    """What a generator of Metadata returns at its end. Raises SpinnerException when it yields something else."""
    while True:
        try:
            item = next(result)
        except StopIteration as end:
            return end.value
        if not isinstance(item, Metadata):
            raise SpinnerException(f"The task yielded {item!r}. Yield Metadata(asset, extra), or return a value.")
        events.take(item)
