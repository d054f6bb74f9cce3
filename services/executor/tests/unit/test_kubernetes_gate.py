"""Calls of the Kubernetes API are bounded, and slow down as the server asks."""

from __future__ import annotations

import asyncio

import pytest
from spinner_executor.adapters.kubernetes.client import ApiFailure, Backoff, Gate


def test_calls_are_bounded_and_keep_their_order() -> None:
    async def scene() -> None:
        gate, order, flying, most = Gate(3), [], 0, 0

        async def call(number: int) -> None:
            nonlocal flying, most
            async with gate():
                order.append(number)
                flying += 1
                most = max(most, flying)
                await asyncio.sleep(0)
                flying -= 1

        calls = [asyncio.create_task(call(number)) for number in range(2000)]
        await asyncio.sleep(0)
        calls[1500].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert order == [number for number in range(2000) if number != 1500]
        assert most == 3
        async with gate():
            pass

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_too_many_requests_halve_what_flies_and_are_waited_for() -> None:
    async def scene() -> None:
        gate, loop = Gate(16), asyncio.get_running_loop()
        with pytest.raises(ApiFailure):
            async with gate():
                raise ApiFailure(429, "TooManyRequests", "", retry_after=0.2)
        assert gate.allowed == 8
        begun = loop.time()
        async with gate():
            assert loop.time() - begun >= 0.19
        for _ in range(300):
            async with gate():
                pass
        assert gate.allowed == 16

    asyncio.run(scene())


def test_pauses_double_up_to_a_limit_and_never_undercut_the_server() -> None:
    backoff = Backoff(1.0, 4.0)
    bounds = [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (2.0, 4.0)]
    assert all(low <= backoff.pause() <= high for low, high in bounds)
    assert backoff.pause(at_least=7.0) >= 7.0
    backoff.reset()
    assert backoff.pause() <= 1.0
