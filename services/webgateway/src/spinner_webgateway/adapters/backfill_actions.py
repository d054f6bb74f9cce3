"""Backfills by REST and by gRPC: check, write the command, return its answer."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from spinner_proto.events.v1 import events_pb2
from spinner_proto.inbox.v1 import inbox_pb2

from spinner_webgateway.adapters.actions import CONF_INLINE_BYTES, CONF_LIMIT_BYTES
from spinner_webgateway.adapters.commands import Commands, blob_of, new_command, placement_of
from spinner_webgateway.adapters.files import Files
from spinner_webgateway.adapters.views import backfills as views
from spinner_webgateway.domain import words
from spinner_webgateway.domain.problems import ProblemError, invalid
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.who import Caller

ORDERS = {"forward": inbox_pb2.RUN_ORDER_FORWARD, "backward": inbox_pb2.RUN_ORDER_BACKWARD}
BEHAVIORS = {
    "none": inbox_pb2.REPROCESS_BEHAVIOR_NONE,
    "failed": inbox_pb2.REPROCESS_BEHAVIOR_FAILED,
    "completed": inbox_pb2.REPROCESS_BEHAVIOR_COMPLETED,
}
KNOWN_RUNS_LIMIT = 20_000
"""Runs of the range that a command carries; the scheduler refuses longer ranges anyway."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A backfill as asked for. Dates without a zone are UTC; `to_date` at midnight is that whole day."""

    from_date: datetime
    to_date: datetime
    run_order: str = "forward"
    reprocess_behavior: str = "none"
    max_active_runs: int = 0
    task_ids: Sequence[str] = ()
    conf: dict[str, Any] = field(default_factory=dict)
    skip_callbacks: bool = False
    pool: str = ""
    note: str = ""
    partition_key: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`plan` is that of a dry run."""

    backfill_id: str
    request_id: str
    interval_count: int
    plan: events_pb2.BackfillPlan | None = None


def task_list(text: str) -> list[str]:
    """Returns the task ids of a pasted list: separated by commas or white space, each once, in their order."""
    return list(dict.fromkeys(text.replace(",", " ").split()))


def span_of(wish: Wish) -> timedelta:
    """Returns how long a range of dates is, both days counted."""
    return _end_of(wish.to_date) - _aware(wish.from_date)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _end_of(time: datetime) -> datetime:
    """A date means the day as a whole."""
    aware = _aware(time)
    midnight = (aware.hour, aware.minute, aware.second, aware.microsecond) == (0, 0, 0, 0)
    return aware + timedelta(days=1, microseconds=-1) if midnight else aware


class BackfillActions:
    """What can be done with backfills. Refusals are problems; access is the caller's business."""

    def __init__(
        self,
        engine: sa.Engine,
        commands: Commands,
        files: Files,
        check_params: Callable[[str, dict[str, Any]], None],
        max_days: int,
    ) -> None:
        self._engine = engine
        self._check_params = check_params
        self._commands = commands
        self._files = files
        self.max_days = max_days

    def check_span(self, dag_id: str, wish: Wish, unlimited: bool) -> None:
        """Raises the 400 problem for a range that is longer than the cap, unless that is overridden."""
        span = span_of(wish)
        if span <= timedelta():
            raise invalid(
                "DATES_INVALID",
                f"from_date {wish.from_date.isoformat()} of a backfill of {dag_id!r} is after its to_date.",
                "Give the earlier date first.",
            )
        if not unlimited and span > timedelta(days=self.max_days):
            raise invalid(
                "BACKFILL_TOO_LONG",
                f"A backfill of {dag_id!r} over {span.total_seconds() / 86_400:.0f} days is longer than the cap of "
                f"{self.max_days} days.",
                "Split it, or have an administrator override the cap (--override-cap, override_cap).",
            )

    async def create(
        self, caller: Caller, dag_id: str, wish: Wish, dry_run: bool, request_id: str | None = None
    ) -> Answer:
        """Creates a backfill, or says what it would do."""
        await asyncio.to_thread(self._check_params, dag_id, wish.conf)
        command = new_command(caller, dag_id, request_id or str(uuid.uuid4()))
        # The same request gives the same backfill.
        digest = hashlib.sha256(f"{dag_id}/{command.request_id}".encode()).hexdigest()
        made = command.create_backfill
        made.backfill_id = f"b{digest[:11]}"
        made.from_date.CopyFrom(words.timestamp(_aware(wish.from_date)))
        made.to_date.CopyFrom(words.timestamp(_end_of(wish.to_date)))
        made.run_order = ORDERS[wish.run_order]
        made.reprocess_behavior = BEHAVIORS[wish.reprocess_behavior]
        made.max_active_runs = wish.max_active_runs
        made.task_ids.extend(wish.task_ids)
        made.skip_callbacks = wish.skip_callbacks
        made.pool = wish.pool
        made.note = wish.note
        made.partition_key = wish.partition_key
        made.dry_run = dry_run
        await self._add_conf(made, dag_id, wish.conf)
        known, placement = await asyncio.to_thread(self._look_up, dag_id, wish)
        for logical, state in known:
            made.known_runs.add(logical_date=words.timestamp_of(logical), state=words.RUN_STATES[state])
        row = await self._commands.send(command, placement)
        plan = None
        if dry_run:
            plan = events_pb2.BackfillPlan.FromString(row["plan"] or b"")
        count = plan.interval_count if plan is not None else row["task_count"]
        return Answer("" if dry_run else made.backfill_id, command.request_id, count, plan)

    async def _add_conf(self, made: inbox_pb2.CreateBackfill, dag_id: str, conf: dict[str, Any]) -> None:
        text = orjson.dumps(conf)
        if len(text) > CONF_LIMIT_BYTES:
            raise ProblemError(
                413,
                "CONF_TOO_LARGE",
                f"conf for a backfill of DAG {dag_id!r} has {len(text):,} bytes; the limit is {CONF_LIMIT_BYTES:,}.",
                "Put the data into the object store or a table, and pass its name in conf.",
            )
        if conf:
            digest = hashlib.sha256(text).hexdigest()
            key = f"conf/{dag_id}/{digest}.json"
            if len(text) > CONF_INLINE_BYTES:
                await asyncio.to_thread(self._files.write, key, text)
            made.conf.CopyFrom(blob_of(text, key, digest, CONF_INLINE_BYTES))

    def _look_up(self, dag_id: str, wish: Wish) -> tuple[list[tuple[int, str]], Any]:
        first, last = words.micros_of(wish.from_date), words.micros_of(_end_of(wish.to_date))
        with self._engine.connect() as connection:
            known = views.ended_runs(connection, dag_id, first, last, KNOWN_RUNS_LIMIT)
            return known, placement_of(connection, dag_id)

    async def change(
        self,
        caller: Caller,
        dag_id: str,
        backfill_id: str,
        state: str,
        stop_runs: bool = False,
        request_id: str | None = None,
    ) -> Row:
        """Pauses ("paused"), resumes ("running") or cancels ("cancelled") a backfill."""
        command = new_command(caller, dag_id, request_id)
        if state == "paused":
            command.pause_backfill.backfill_id = backfill_id
        elif state == "running":
            command.resume_backfill.backfill_id = backfill_id
        else:
            command.cancel_backfill.backfill_id = backfill_id
            command.cancel_backfill.stop_runs = stop_runs

        def look_up() -> Any:
            with self._engine.connect() as connection:
                views.find(connection, dag_id, backfill_id)
                return placement_of(connection, dag_id)

        return await self._commands.send(command, await asyncio.to_thread(look_up))
