"""What the endpoints work with: made once by the composition root, shared by REST and gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa
from fastapi import Request

from spinner_webgateway.adapters.actions import Actions
from spinner_webgateway.adapters.asset_actions import AssetActions
from spinner_webgateway.adapters.backfill_actions import BackfillActions
from spinner_webgateway.adapters.explanations import Explanations
from spinner_webgateway.adapters.files import Files
from spinner_webgateway.adapters.hub import ChangeHub
from spinner_webgateway.adapters.logs import Logs
from spinner_webgateway.adapters.search import Search
from spinner_webgateway.adapters.settings_records import SettingsRecords
from spinner_webgateway.adapters.simulations import Simulations
from spinner_webgateway.adapters.views.definitions import Definitions
from spinner_webgateway.api.access import Access

R = TypeVar("R")


@dataclass(slots=True)
class Gateway:
    """Everything behind the API."""

    engine: sa.Engine
    definitions: Definitions
    hub: ChangeHub
    access: Access
    actions: Actions
    backfills: BackfillActions
    assets: AssetActions
    files: Files
    logs: Logs
    explanations: Explanations
    simulations: Simulations
    settings_records: SettingsRecords
    search: Search
    lag: Callable[[], int]
    version: str
    environment: str
    cluster: str

    def query(self, read: Callable[[sa.Connection], R]) -> R:
        """Runs a read on a connection of its own. Blocks: from the event loop use `read`."""
        with self.engine.connect() as connection:
            return read(connection)

    async def read(self, read: Callable[[sa.Connection], R]) -> R:
        """Runs a read on a worker thread."""
        return await asyncio.to_thread(self.query, read)

    async def in_thread(self, function: Callable[..., R], *arguments: object) -> R:
        """Runs anything that blocks on a worker thread."""
        return await asyncio.to_thread(function, *arguments)


async def gateway_of(request: Request) -> Gateway:
    """Dependency of the endpoints. Not a plain function, which would wait for a thread of its own on every request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
