"""Triggers of time, files and other runs, on a loop of their own; questions of sensors without drift."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from spinner.exceptions import RuntimeUnavailable
from spinner.sensors.base import _to_next_multiple
from spinner.triggers import TriggerEvent, load_trigger, trigger_arguments
from spinner.triggers.clock import WallClock
from spinner.triggers.external import DagRunTrigger, ExternalTaskTrigger
from spinner.triggers.file import FileTrigger
from spinner.triggers.states import set_source, watch_states
from spinner.triggers.temporal import TimeDeltaTrigger

DAY = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    """A wall clock that can be stepped."""

    def __init__(self) -> None:
        self.step = 0.0

    def now(self) -> float:
        return time.time() + self.step


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_alarms_ring_in_order_and_never_early():
    async def main():
        clock, rung = WallClock(), []
        begun = datetime.now(UTC)
        for n in (3, 1, 2):
            moment = begun + timedelta(milliseconds=30 * n)
            clock.call_at(moment, lambda n=n, moment=moment: rung.append((n, datetime.now(UTC) >= moment)))
        clock.call_at(begun + timedelta(milliseconds=45), lambda: rung.append("cancelled")).cancel()
        await clock.sleep_until(begun + timedelta(milliseconds=120))
        assert rung == [(1, True), (2, True), (3, True)]
        await clock.sleep_until(begun)  # a moment that is over

    run(main())


def test_a_step_of_the_clock_is_noticed_within_a_second():
    async def main():
        stepped = Clock()
        clock = WallClock(stepped.now)
        far = asyncio.ensure_future(clock.sleep_until(datetime.now(UTC) + timedelta(hours=5)))
        near = asyncio.ensure_future(clock.sleep_until(datetime.now(UTC) + timedelta(seconds=0.2)))
        await asyncio.sleep(0)
        stepped.step = -3600.0  # back: the near one is an hour away now
        await asyncio.sleep(0.5)
        assert not near.done()
        stepped.step = 6 * 3600.0  # ahead: both are over
        begun = time.monotonic()
        await asyncio.gather(near, far)
        assert time.monotonic() - begun < 1.5

    run(main())


def test_ten_thousand_moments_share_one_timer():
    async def main():
        clock, rung = WallClock(), []
        loop = asyncio.get_running_loop()
        begun = datetime.now(UTC)
        for n in range(10_000):
            clock.call_at(begun + timedelta(milliseconds=n % 100), lambda: rung.append(1))
        assert sum(not handle.cancelled() for handle in loop._scheduled) <= 2  # and this test's own
        await clock.sleep_until(begun + timedelta(milliseconds=110))
        assert len(rung) == 10_000

    run(main())


def test_a_time_delta_is_a_moment_wherever_it_goes_on():
    first = TimeDeltaTrigger(timedelta(seconds=30))
    again = load_trigger(*trigger_arguments(first))
    assert again.moment == first.moment


def test_files_are_looked_for_together(tmp_path, monkeypatch):
    import spinner.triggers.file as module

    looks = []
    there = module.file_there
    monkeypatch.setattr(module, "file_there", lambda *a, **k: looks.append(time.monotonic()) or there(*a, **k))

    async def main():
        triggers = [FileTrigger(str(tmp_path / "f"), poke_interval=0.1) for _ in range(200)]
        waiting = [asyncio.ensure_future(anext(aiter(trigger.run()))) for trigger in triggers]
        await asyncio.sleep(0.35)
        assert not any(one.done() for one in waiting)
        (tmp_path / "f").touch()
        events = await asyncio.gather(*waiting)
        assert {event.payload["status"] for event in events} == {"success"}
        assert len(looks) < 30  # not 200 each time

    run(main())


class Source:
    """States that a test tells."""

    def __init__(self) -> None:
        self.queues: dict[tuple, asyncio.Queue] = {}

    def queue(self, *key) -> asyncio.Queue:
        return self.queues.setdefault(key, asyncio.Queue())

    async def watch(self, dag_id, run_id, logical_date, task_ids):
        while True:
            yield await self.queue(dag_id, run_id, logical_date, task_ids).get()


@pytest.fixture
def source():
    made = Source()
    set_source(made)
    yield made
    set_source(None)


def test_a_run_is_waited_for_until_it_is_in_one_of_the_states(source):
    async def main():
        trigger = load_trigger(*trigger_arguments(DagRunTrigger("other", "r1", ["success", "failed"])))
        for states in (None, ["queued"], ["running"], ["failed"]):
            source.queue("other", "r1", None, ()).put_nowait(states)
        assert await anext(aiter(trigger.run())) == TriggerEvent({"run_id": "r1", "state": "failed"})

    run(main())


@pytest.mark.parametrize(
    ("second", "event"),
    [(["success", "success"], {}), (["success", "failed"], {"logical_date": DAY + timedelta(1), "state": "failed"})],
)
def test_all_dates_are_waited_for_unless_one_stops_the_wait(source, second, event):
    async def main():
        dates = [DAY, DAY + timedelta(1)]
        trigger = ExternalTaskTrigger("other", dates, ["a", "b"], ["success"], ["failed"])
        trigger = load_trigger(*trigger_arguments(trigger))
        first = source.queue("other", "", DAY, ("a", "b"))
        for states in (None, ["none", "none"], ["success", "running"]):
            first.put_nowait(states)
        if not event:
            first.put_nowait(["success", "success"])
        source.queue("other", "", DAY + timedelta(1), ("a", "b")).put_nowait(second)
        assert await anext(aiter(trigger.run())) == TriggerEvent(event)

    run(main())


def test_states_are_only_told_in_a_triggerer():
    with pytest.raises(RuntimeUnavailable, match="in a triggerer only"):
        watch_states("other", run_id="r1")


def test_questions_stay_at_multiples_of_the_interval():
    assert _to_next_multiple(0.4, 60.0) == pytest.approx(59.6)
    assert _to_next_multiple(61.5, 60.0) == pytest.approx(58.5)
    assert _to_next_multiple(119.9999, 60.0) == pytest.approx(60.0, abs=0.01)  # not twice for one multiple
    assert _to_next_multiple(5.0, 0.0) == 0.0
