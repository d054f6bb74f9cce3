"""When a DAG's runs are due, from its schedule and the latest interval that has a run.

Cron expressions are evaluated in local wall time and mapped to instants: a wall time that a DST change leaves out
runs as much later as the clock jumps; one that comes twice runs once if the expression names its hours, and twice
if its hour field is a wildcard (`*`, `*/2`), because then the period matters and not the wall time. Periods
(`timedelta`) count from a reference in exact time, months in local wall time.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from dateutil.relativedelta import relativedelta
from spinner_proto.definitions.v1.definitions_pb2 import (
    CronSchedule,
    DagDefinition,
    DeltaSchedule,
    ExplicitSchedule,
    Schedule,
)

from spinner_scheduler.domain import times
from spinner_scheduler.domain.reasons import Code

_HOUR = timedelta(hours=1)
# How many cron expressions are kept parsed.
_PARSED = 4_096
# How many ticks a schedule remembers.
_FOUND = 256


@dataclass(frozen=True, slots=True)
class Tick:
    """One run to be: logical date, data interval (0, 0 for none) and when it is due; µs."""

    logical: int
    start: int
    end: int
    run_after: int


class NoTick(NamedTuple):
    """Why no run comes."""

    code: Code
    text: str


NO_REASON = NoTick(Code.NOT_DUE, "")


class Timetable(Protocol):
    def next(self, last: Tick | None, now: int) -> tuple[Tick | None, NoTick]:
        """Returns the run after `last` (of which `logical` and `end` matter), or None and the reason."""

    def manual(self, logical: int) -> tuple[int, int]:
        """Returns the data interval of a run triggered by hand with this logical date."""


class Clock(Protocol):
    """Ticks of a schedule."""

    def after(self, instant: int) -> int | None:
        """The first tick later than `instant`."""

    def before(self, instant: int) -> int | None:
        """The last tick earlier than `instant`."""


# -- cron --------------------------------------------------------------------------------------------------------


class _Walkers(threading.local):
    """Parsed expressions of one thread: parsing one takes longer than finding its next tick."""

    def __init__(self) -> None:
        self._known: dict[str, croniter] = {}

    def at(self, text: str, local: datetime) -> croniter:
        """Returns a walk that begins at `local`, good until the next call for the same expression."""
        walk = self._known.get(text)
        if walk is None:
            if len(self._known) >= _PARSED:
                self._known.clear()
            walk = self._known[text] = croniter(text, local)
        else:
            walk.set_current(local)
        return walk


_walkers = _Walkers()


@lru_cache(_PARSED)
def _is_valid(text: str) -> bool:
    return bool(croniter.is_valid(text))


class Cron:
    """Ticks of one or more cron expressions in a time zone. A sixth field is seconds, as in Airflow (croniter)."""

    def __init__(self, expressions: list[str], timezone: str) -> None:
        try:
            self._zone = ZoneInfo(timezone or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"time zone {timezone!r} is unknown: use an IANA name such as Europe/Berlin") from error
        self._expressions = [(text, _hour_is_wildcard(text)) for text in expressions]
        # Found already: thousands of DAGs share a schedule and ask for the same ticks at the same moment.
        self._found: dict[tuple[int, int], int | None] = {}
        for text in expressions:
            if not _is_valid(text):
                raise ValueError(
                    f"cron expression {text!r} is not valid: use 5 fields (minute hour day month weekday), "
                    "or 6 with the seconds last"
                )

    def after(self, instant: int) -> int | None:
        return self._nearest(instant, 1)

    def before(self, instant: int) -> int | None:
        return self._nearest(instant, -1)

    def _nearest(self, instant: int, direction: int) -> int | None:
        key = (instant, direction)
        known = self._found  # other threads may put a new one in its place
        if key in known:
            return known[key]
        steps = [self._step(text, wild, instant, direction) for text, wild in self._expressions]
        ticks = [tick for tick in steps if tick is not None]
        tick = (min(ticks) if direction > 0 else max(ticks)) if ticks else None
        if len(self._found) >= _FOUND:
            self._found = {}
        self._found[key] = tick
        return tick

    def _step(self, text: str, wild: bool, instant: int, direction: int) -> int | None:
        moment = times.to_datetime(instant)
        local = moment.astimezone(self._zone).replace(tzinfo=None)
        # Without a change of the offset around it, wall time and exact time go together.
        walk = _walkers.at(text, local)
        naive = _walk(walk, direction)
        if naive is None:
            return None
        offset = self._offset(local)
        if offset == self._offset(naive) and not (self._near_change(local) or self._near_change(naive)):
            return times.from_datetime((naive - offset).replace(tzinfo=UTC))
        return self._step_carefully(text, wild, instant, local, direction)

    def _step_carefully(self, text: str, wild: bool, instant: int, local: datetime, direction: int) -> int | None:
        # Start far enough on the other side that no tick is missed, stop when no later one can be nearer.
        walk = _walkers.at(text, local - direction * 3 * _HOUR)
        best: int | None = None
        while True:
            naive = _walk(walk, direction)
            if naive is None:
                return best
            for tick in self._instants(naive, wild):
                if (tick - instant) * direction > 0 and (best is None or (best - tick) * direction > 0):
                    best = tick
            if best is not None:
                nearest = times.to_datetime(best).astimezone(self._zone).replace(tzinfo=None)
                if (naive - nearest) * direction > 3 * _HOUR:
                    return best

    def _instants(self, naive: datetime, wild: bool) -> list[int]:
        first = naive.replace(tzinfo=self._zone, fold=0)
        second = naive.replace(tzinfo=self._zone, fold=1)
        instants = [times.from_datetime(first.astimezone(UTC))]
        # In a gap both folds exist on paper, the later offset first: only a repeated hour has two real instants.
        repeated = first.utcoffset() != second.utcoffset() and (
            second.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) == naive
        )
        if repeated and wild:
            instants.append(times.from_datetime(second.astimezone(UTC)))
        return instants

    def _offset(self, naive: datetime) -> timedelta:
        return naive.replace(tzinfo=self._zone).utcoffset() or timedelta()

    def _near_change(self, naive: datetime) -> bool:
        return self._offset(naive - 3 * _HOUR) != self._offset(naive + 3 * _HOUR)


def _walk(walk: croniter, direction: int) -> datetime | None:
    try:
        found: datetime = walk.get_next(datetime) if direction > 0 else walk.get_prev(datetime)
    except Exception:  # noqa: BLE001 - croniter raises its own errors when no date matches, such as 30 February
        return None
    return found


def _hour_is_wildcard(text: str) -> bool:
    fields = text.split()
    hour = fields[1] if len(fields) > 1 else "*"
    return hour.startswith("*")


# -- periods -----------------------------------------------------------------------------------------------------


class Delta:
    """Ticks at reference + n · period."""

    def __init__(self, schedule: DeltaSchedule, reference: int) -> None:
        self._period = times.from_duration(schedule.period)
        self._months = schedule.months
        self._zone = ZoneInfo(schedule.timezone or "UTC")
        self._reference = reference
        if self._period <= 0 and self._months <= 0:
            raise ValueError("the period of the schedule is not positive")

    def _tick(self, n: int) -> int:
        if not self._months:
            return self._reference + n * self._period
        local = times.to_datetime(self._reference).astimezone(self._zone).replace(tzinfo=None)
        moved = (local + relativedelta(months=n * self._months)).replace(tzinfo=self._zone)
        return times.from_datetime(moved.astimezone(UTC)) + n * self._period

    def _guess(self, instant: int) -> int:
        average = self._period + self._months * 2_629_746 * times.SECOND
        return (instant - self._reference) // average

    def after(self, instant: int) -> int | None:
        n = self._guess(instant) - 2
        while self._tick(n) <= instant:
            n += 1
        return self._tick(n)

    def before(self, instant: int) -> int | None:
        n = self._guess(instant) + 2
        while self._tick(n) >= instant:
            n -= 1
        return self._tick(n)


# -- timetables ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bounds:
    start: int
    end: int
    catchup: bool

    def passed(self) -> NoTick:
        return NoTick(Code.END_DATE_PASSED, f"its end_date {times.text(self.end)} is reached")


class Intervals:
    """Runs that cover the interval between two ticks and start at its end."""

    def __init__(self, clock: Clock, bounds: _Bounds) -> None:
        self._clock, self._bounds = clock, bounds

    def next(self, last: Tick | None, now: int) -> tuple[Tick | None, NoTick]:
        clock, bounds = self._clock, self._bounds
        earliest = _at_or_after(clock, bounds.start) if bounds.start else None
        if not bounds.catchup:
            # The latest interval that is over.
            latest_end = clock.before(now + 1)
            latest = clock.before(latest_end) if latest_end is not None else None
            if latest is not None:
                earliest = max(latest, earliest) if earliest is not None else latest
        if earliest is None and last is None and bounds.catchup and not bounds.start:
            return None, NoTick(Code.NO_START_DATE, "it has no start_date")
        start: int | None = earliest
        if last is not None:
            following = _at_or_after(clock, last.end)
            start = max(following, start or 0) if following is not None else None
        end = clock.after(start) if start is not None else None
        if start is None or end is None:
            return None, NoTick(Code.SCHEDULE_EXHAUSTED, "its schedule has no further tick")
        if bounds.end and start > bounds.end:
            return None, bounds.passed()
        return Tick(start, start, end, end), NO_REASON

    def manual(self, logical: int) -> tuple[int, int]:
        end = self._clock.before(logical + 1)
        start = self._clock.before(end) if end is not None else None
        return (start or 0, end or 0) if start is not None else (logical, logical)


class Ticks:
    """Runs that start at the tick, their logical date; `interval` before it is their data interval."""

    def __init__(self, clock: Clock, bounds: _Bounds, interval: int) -> None:
        self._clock, self._bounds, self._interval = clock, bounds, interval

    def next(self, last: Tick | None, now: int) -> tuple[Tick | None, NoTick]:
        clock, bounds = self._clock, self._bounds
        candidates: list[int | None] = []
        if bounds.start:
            candidates.append(_at_or_after(clock, bounds.start))
        if last is not None:
            candidates.append(clock.after(last.end))
        if not bounds.catchup:
            candidates.append(clock.before(now + 1))
        elif not candidates:
            return None, NoTick(Code.NO_START_DATE, "it has no start_date")
        known = [tick for tick in candidates if tick is not None]
        if not known or (last is not None and clock.after(last.end) is None):
            return None, NoTick(Code.SCHEDULE_EXHAUSTED, "its schedule has no further tick")
        tick = max(known)
        if bounds.end and tick > bounds.end:
            return None, bounds.passed()
        return Tick(tick, tick - self._interval, tick, tick), NO_REASON

    def manual(self, logical: int) -> tuple[int, int]:
        return logical - self._interval, logical


class Once:
    """One run at the start date, or at once."""

    def __init__(self, bounds: _Bounds) -> None:
        self._bounds = bounds

    def next(self, last: Tick | None, now: int) -> tuple[Tick | None, NoTick]:
        if last is not None:
            return None, NoTick(Code.ONCE_DONE, "its only run (@once) has been made")
        at = self._bounds.start or now
        if self._bounds.end and at > self._bounds.end:
            return None, self._bounds.passed()
        return Tick(at, at, at, at), NO_REASON

    def manual(self, logical: int) -> tuple[int, int]:
        return logical, logical


class Continuous:
    """A run as soon as the one before has ended."""

    def __init__(self, bounds: _Bounds) -> None:
        self._bounds = bounds

    def next(self, last: Tick | None, now: int) -> tuple[Tick | None, NoTick]:
        start = last.end if last is not None else self._bounds.start or now
        at = max(now, start, self._bounds.start)
        if last is not None and at <= last.logical:
            at = last.logical + 1
        if self._bounds.end and at > self._bounds.end:
            return None, self._bounds.passed()
        return Tick(at, min(start, at), at, at), NO_REASON

    def manual(self, logical: int) -> tuple[int, int]:
        return logical, logical


class Explicit:
    """Runs evaluated ahead of time from a custom timetable."""

    def __init__(self, schedule: ExplicitSchedule, bounds: _Bounds) -> None:
        self._bounds = bounds
        self._ticks = sorted(
            (
                Tick(
                    times.from_timestamp(interval.logical_date),
                    times.from_timestamp(interval.start),
                    times.from_timestamp(interval.end),
                    times.from_timestamp(interval.run_after),
                )
                for interval in schedule.intervals
            ),
            key=lambda tick: (tick.logical, tick.run_after),
        )

    def next(self, last: Tick | None, now: int) -> tuple[Tick | None, NoTick]:
        begin, end = self._range(last.logical if last is not None else None)
        if begin >= end:
            return None, NoTick(
                Code.TIMETABLE_EXHAUSTED, "its timetable has no further run: the next parse of its file may bring more"
            )
        if not self._bounds.catchup:
            due = [tick for tick in self._ticks[begin:end] if tick.run_after <= now]
            return (due[-1] if due else self._ticks[begin]), NO_REASON
        return self._ticks[begin], NO_REASON

    def left(self, last: int | None) -> tuple[int, int]:
        """Returns how many runs are known after the one of a logical date, and when the last of them is due."""
        begin, end = self._range(last)
        return max(0, end - begin), self._ticks[end - 1].run_after if end > begin else 0

    def _range(self, last: int | None) -> tuple[int, int]:
        bounds = self._bounds
        begin = bisect_left(self._ticks, bounds.start, key=_logical)
        if last is not None:
            begin = max(begin, bisect_right(self._ticks, last, key=_logical))
        return begin, bisect_right(self._ticks, bounds.end, key=_logical) if bounds.end else len(self._ticks)

    def manual(self, logical: int) -> tuple[int, int]:
        before = [tick for tick in self._ticks if tick.run_after <= logical]
        return (before[-1].start, before[-1].end) if before else (logical, logical)


class Never:
    """No runs by time."""

    def __init__(self, code: Code, reason: str) -> None:
        self._reason = NoTick(code, reason)

    def next(self, last: Tick | None, now: int) -> tuple[Tick | None, NoTick]:
        return None, self._reason

    def manual(self, logical: int) -> tuple[int, int]:
        return logical, logical


def _logical(tick: Tick) -> int:
    return tick.logical


def _at_or_after(clock: Clock, instant: int) -> int | None:
    return clock.after(instant - 1)


def explicit_of(definition: DagDefinition) -> ExplicitSchedule:
    """The part of the definition's schedule that lists intervals; empty when it has none."""
    schedule = definition.schedule
    return schedule.assets.or_time.explicit if schedule.HasField("assets") else schedule.explicit


def is_evaluated(definition: DagDefinition) -> bool:
    """Whether the definition's timetable is a program, whose intervals come by TimetableEvaluated."""
    return explicit_of(definition).evaluated


def timetable(definition: DagDefinition, evaluated: ExplicitSchedule | None = None) -> Timetable:
    """Returns the timetable of a definition; one that can't be evaluated never runs and says why.

    `evaluated` has the intervals of a custom timetable.
    """
    if evaluated is not None:
        start, end = times.from_timestamp(definition.start_date), times.from_timestamp(definition.end_date)
        return Explicit(evaluated, _Bounds(start, end, definition.catchup))
    return _timetable(
        definition.schedule.SerializeToString(deterministic=True),
        times.from_timestamp(definition.start_date),
        times.from_timestamp(definition.end_date),
        definition.catchup,
    )


@lru_cache(maxsize=4096)
def _timetable(schedule: bytes, start: int, end: int, catchup: bool) -> Timetable:
    definition = DagDefinition()
    definition.schedule.ParseFromString(schedule)
    bounds = _Bounds(start, end, catchup)
    try:
        return _of_schedule(definition.schedule, bounds)
    except ValueError as error:
        return Never(Code.SCHEDULE_INVALID, f"its schedule can't be evaluated: {error}")


def _of_schedule(schedule: Schedule, bounds: _Bounds) -> Timetable:
    kind = schedule.WhichOneof("kind")
    if kind == "cron":
        return _cron(schedule.cron, bounds)
    if kind == "delta":
        delta = schedule.delta
        clock = Delta(delta, times.from_timestamp(delta.reference_time) or bounds.start)
        interval = times.from_duration(delta.interval if delta.HasField("interval") else delta.period)
        return Ticks(clock, bounds, interval) if delta.run_at_tick else Intervals(clock, bounds)
    if kind == "once":
        return Once(bounds)
    if kind == "continuous":
        return Continuous(bounds)
    if kind == "explicit":
        return Explicit(schedule.explicit, bounds)
    if kind == "assets":
        if schedule.assets.HasField("or_cron"):
            return _cron(schedule.assets.or_cron, bounds)
        if schedule.assets.HasField("or_time"):
            return _of_schedule(schedule.assets.or_time, bounds)
        return Never(Code.ASSETS_NOT_UPDATED, "it runs when its assets are updated")
    return Never(Code.NO_SCHEDULE, "it has no schedule: it runs when triggered")


def _cron(schedule: CronSchedule, bounds: _Bounds) -> Timetable:
    clock = Cron(list(schedule.expressions), schedule.timezone)
    if schedule.run_at_tick:
        return Ticks(clock, bounds, times.from_duration(schedule.interval))
    return Intervals(clock, bounds)
