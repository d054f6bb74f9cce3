"""How long a list of DAGs takes by the web API while many look: clients that pause between two looks, as people do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from bench.figures import percentile

CLIENTS = 50
PAUSE_SECONDS = 1.0  # on average
SECONDS = 10.0


@dataclass(frozen=True)
class Page:
    """What is asked for: an address and the headers it needs."""

    url: str
    headers: Mapping[str, str]


def look(page: Page) -> dict[str, float]:
    """Looks for SECONDS; raises when an answer isn't 200."""
    times = asyncio.run(_all(page))
    return {"web_dags_p50_ms": percentile(times, 50), "web_dags_p95_ms": percentile(times, 95)}


async def _all(page: Page) -> list[float]:
    times: list[float] = []
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    async with httpx.AsyncClient(headers=page.headers, timeout=60, limits=limits) as client:
        until = time.monotonic() + SECONDS
        await asyncio.gather(*(_one(client, page.url, seed, until, times) for seed in range(CLIENTS)))
    return times


async def _one(client: httpx.AsyncClient, url: str, seed: int, until: float, times: list[float]) -> None:
    source = random.Random(seed)
    while True:
        await asyncio.sleep(source.expovariate(1 / PAUSE_SECONDS))
        if time.monotonic() >= until:
            return
        begin = time.perf_counter()
        (await client.get(url)).raise_for_status()
        times.append(1000 * (time.perf_counter() - begin))
