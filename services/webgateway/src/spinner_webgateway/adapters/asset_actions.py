"""Updates of assets by hand: a command to the partition that owns the asset."""

from __future__ import annotations

from typing import Any

import orjson

from spinner_webgateway.adapters.commands import Commands, Placement, new_command
from spinner_webgateway.adapters.settings_records import PoolAddresses
from spinner_webgateway.domain.problems import invalid
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.who import Caller

EXTRA_LIMIT_BYTES = 16 * 1024


class AssetActions:
    """Owners are found as those of pools are: in the lowest tier's cell, by a hash of the key."""

    def __init__(self, commands: Commands, addresses: PoolAddresses) -> None:
        self._commands = commands
        self._addresses = addresses

    async def create_event(
        self,
        caller: Caller,
        name: str,
        extra: dict[str, Any],
        request_id: str | None = None,
        partition_key: str = "",
    ) -> Row:
        """Records an update of an asset, idempotent by the request id; returns the answer's row."""
        text = orjson.dumps(extra) if extra else b""
        if len(text) > EXTRA_LIMIT_BYTES:
            raise invalid(
                "EXTRA_TOO_LARGE",
                f"extra of asset {name[:200]!r} has {len(text):,} bytes; the limit is {EXTRA_LIMIT_BYTES:,} (16 KiB).",
                "Put the data into the object store, and its name into extra.",
            )
        command = new_command(caller, "", request_id)
        command.create_asset_event.asset = name
        command.create_asset_event.extra_json = text.decode()
        command.create_asset_event.partition_key = partition_key
        ((_, partition),) = self._addresses.of(f"asset:{name}")
        placement = Placement(self._addresses.cluster, min(self._addresses.tiers), partition)
        return await self._commands.send(command, placement)
