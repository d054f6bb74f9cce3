"""C3, the executor's part: do the stores answer that tries need?

Each check has a time-out. Good answers are kept for a moment, so that short tasks don't wait for them: for
FRESH_SECONDS they are given as they are, then looked at again beside the answer, and after STALE_SECONDS before it. Bad
answers are never kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from spinner_proto.runtime.v1.runtime_pb2 import ReadinessCheck

from spinner_executor.adapters.secrets.chain import SecretChain
from spinner_executor.adapters.views import SharedView
from spinner_executor.control.context import Context

TIMEOUT_SECONDS = 5.0
FRESH_SECONDS = 5.0
STALE_SECONDS = 30.0
_PROBE = "readiness"


class Readiness:
    """Runs on the event loop."""

    def __init__(self, context: Context, shared: SharedView, chain: SecretChain) -> None:
        self._context = context
        self._shared = shared
        self._chain = chain
        self._looked = -STALE_SECONDS
        self._found: list[ReadinessCheck] = []
        self._looking: asyncio.Task[None] | None = None

    async def checks(self) -> list[ReadinessCheck]:
        """What was found, at most STALE_SECONDS ago."""
        age = self._context.loop.time() - self._looked
        good = bool(self._found) and all(check.ready for check in self._found)
        if good and age < FRESH_SECONDS:
            return self._found
        if self._looking is None or self._looking.done():
            self._looking = self._context.spawn(self._look())
        if not good or age > STALE_SECONDS:
            await asyncio.shield(self._looking)
        return self._found

    async def _look(self) -> None:
        self._found = list(
            await asyncio.gather(
                self._one("object store", self._object_store), self._one("secret store", self._secret_store)
            )
        )
        self._looked = self._context.loop.time()

    async def _one(self, name: str, ask: Callable[[], Awaitable[object]]) -> ReadinessCheck:
        begun = self._context.loop.time()
        message = ""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await ask()
        except TimeoutError:
            message = f"no answer in {TIMEOUT_SECONDS:.0f} s"
        except Exception as error:  # noqa: BLE001 - whatever the store's client raises is the answer
            message = str(error) or type(error).__name__
        return ReadinessCheck(name=name, ready=not message, message=message, seconds=self._context.loop.time() - begun)

    async def _object_store(self) -> None:
        await self._context.loop.run_in_executor(self._context.pool, self._context.objects.exists, _PROBE)

    async def _secret_store(self) -> None:
        if not self._shared.ready.is_set():
            await self._context.loop.run_in_executor(self._context.pool, self._shared.wait_ready)
        # A name that nobody has: every back end of the chain is asked for it.
        await self._context.loop.run_in_executor(self._context.pool, self._chain.variable, _PROBE)
