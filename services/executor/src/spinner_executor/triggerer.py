"""`python -m spinner_executor.triggerer`: a place for triggers of executors on other machines.

Executors name it in SPINNER_TRIGGERERS. It needs neither Kafka nor the object store; any number may run, and one that
dies loses nothing: executors start its triggers at another one. Set by SPINNER_* variables (`--help` lists them).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import Field, SecretStr
from spinner_servicekit.app import App, run_async
from spinner_servicekit.settings import ServiceSettings

from spinner_executor.adapters.triggerer import tunnel
from spinner_executor.adapters.triggerer.host import Host
from spinner_executor.settings import Bytes


class TriggererSettings(ServiceSettings):
    """A triggerer's own."""

    triggerer_address: str = Field(default="127.0.0.1:50056", description="where executors reach it; port 0 picks one")
    triggerer_data: Path = Field(default=Path(".spinner/triggerer"), description="folder of bundles")
    cache_bytes: Bytes = Field(default=10 << 30, ge=0, description="what bundles may take there; 0: no bound")
    secret_key: SecretStr = Field(default=SecretStr(""), description="the executors' key; others are refused")


async def main(app: App[TriggererSettings]) -> None:
    """Serves executors until it is cancelled."""
    settings = app.settings
    os.environ["SPINNER_CACHE_BYTES"] = str(settings.cache_bytes)
    host = Host(tunnel.key(settings.secret_key.get_secret_value()), settings.triggerer_data.absolute())
    address = await host.start(settings.triggerer_address)
    app.ready(grpc=address)
    try:
        await asyncio.Event().wait()
    finally:
        await host.close()


if __name__ == "__main__":
    run_async("triggerer", TriggererSettings, main)
