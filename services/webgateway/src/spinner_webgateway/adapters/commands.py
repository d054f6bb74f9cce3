"""Commands: into the DAG's inbox, and back with the scheduler's answer.

A command is idempotent by its request id: sent twice it is decided once, and its answer is in the views for good.
When no answer comes in time the command stays valid; asking again with the same request id picks the answer up.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from spinner_eventlog.interface import EventLog, Outgoing, Producer, RecordTooLarge, Transient
from spinner_eventlog.topics import inbox_topic
from spinner_proto.common.v1 import common_pb2
from spinner_proto.inbox.v1 import inbox_pb2
from spinner_servicekit import traces

from spinner_webgateway.adapters.hub import ChangeHub
from spinner_webgateway.adapters.tables.dags import dags, definitions
from spinner_webgateway.adapters.views import lists
from spinner_webgateway.domain.changes import Change
from spinner_webgateway.domain.problems import ProblemError, dag_not_found
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.who import Caller
from spinner_webgateway.domain.words import timestamp

ANSWER_SECONDS = 10.0
# The client itself gives up a record after the answer's time; it looks every second.
_CLIENT_SECONDS = 5.0
BAD_REQUEST_CODES = frozenset(
    {
        "INVALID_ARGUMENT",
        "INVALID_CONF",
        "INVALID_ORDER",
        "INVALID_RUN_ID",
        "NO_SCHEDULE",
        "NOTHING_TO_BACKFILL",
        "TASK_MISSING",
        "TOO_MANY_RUNS",
        "UNKNOWN_COMMAND",
    }
)


@dataclass(frozen=True, slots=True)
class Placement:
    """The inbox of a DAG."""

    cluster: str
    tier: int
    partition: int

    @property
    def name(self) -> str:
        """The scheduler partition."""
        return f"{self.cluster}_tier_{self.tier}_{self.partition}"


def placement_of(connection: sa.Connection, dag_id: str) -> Placement:
    """Returns where the DAG's commands go: its live placement, else its latest definition's. Raises 404."""
    row = connection.execute(
        sa.select(dags.c.cluster, dags.c.tier, dags.c.partition).where(
            dags.c.dag_id == dag_id, dags.c.cluster != "", sa.not_(dags.c.removed)
        )
    ).first()
    if row is None:
        row = connection.execute(
            sa.select(definitions.c.cluster, definitions.c.tier, definitions.c.partition)
            .where(definitions.c.dag_id == dag_id, definitions.c.dynamic_source_version == "")
            .order_by(definitions.c.parsed_time.desc())
            .limit(1)
        ).first()
    if row is None:
        raise dag_not_found(dag_id)
    return Placement(row.cluster, row.tier, row.partition)


def new_command(caller: Caller, dag_id: str, request_id: str | None) -> inbox_pb2.Command:
    """Returns a command without its kind. Raises a 400 problem for a request id that can't be a key."""
    wanted = request_id or str(uuid.uuid4())
    if not (wanted.isascii() and len(wanted) <= 250):
        raise ProblemError(
            400, "REQUEST_ID_INVALID", "request_id is longer than 250 ASCII characters.", "Use a UUID, or leave it out."
        )
    return inbox_pb2.Command(request_id=wanted, actor=caller.actor(), time=timestamp(datetime.now(UTC)), dag_id=dag_id)


class Commands:
    """Sends commands and waits for their answers in the event loop."""

    def __init__(
        self, log: EventLog, engine: sa.Engine, hub: ChangeHub, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._producer: Producer = log.producer("webgateway-commands", answer_seconds)
        self._engine = engine
        self._hub = hub
        self._answer_seconds = answer_seconds

    async def send(self, command: inbox_pb2.Command, placement: Placement, asked_before: bool = True) -> Row:
        """Returns the answer's row; raises the problem that the scheduler's refusal means, 503 without an answer.

        `asked_before`: whether the command may have been sent already, because its request id came from outside.
        """
        known = await asyncio.to_thread(self._answer, command.request_id) if asked_before else None
        if known is None:
            known = await self._ask(command, placement)
        if known["dag_id"] and known["dag_id"] != command.dag_id:
            raise ProblemError(
                409,
                "REQUEST_ID_USED",
                f"request_id {command.request_id} was already used for DAG {known['dag_id']!r}.",
                "Use a new UUID for every command.",
            )
        if known["accepted"]:
            return known
        raise rejection(known)

    async def _ask(self, command: inbox_pb2.Command, placement: Placement) -> Row:
        def mine(change: Change) -> Change | None:
            return change if command.request_id in change.commands else None

        deadline = time.monotonic() + self._answer_seconds
        with self._hub.awaiting(command.request_id), self._hub.subscribe(mine) as subscription:
            await self._deliver(
                Outgoing(
                    inbox_topic(placement.cluster, placement.tier),
                    command.dag_id or f"asset:{command.create_asset_event.asset}",
                    inbox_pb2.InboxMessage(command=command),
                    partition=placement.partition,
                    headers=traces.inject({}),
                ),
                f"dag/{command.dag_id}" if command.dag_id else f"asset/{command.create_asset_event.asset}",
                f" with request_id {command.request_id}: it is carried out once",
            )
            while (left := deadline - time.monotonic()) > 0:
                change = await subscription.take(left)
                if change is not None and command.request_id in change.commands:
                    return change.commands[command.request_id]
                answer = await asyncio.to_thread(self._answer, command.request_id)
                if answer is not None:
                    return answer
        raise ProblemError(
            503,
            "ANSWER_PENDING",
            f"Scheduler partition {placement.name} did not answer command {command.request_id} within "
            f"{self._answer_seconds:.0f} s. The command is stored and will be carried out when the scheduler is back.",
            f"Check that the scheduler runs (spinner status); to see the answer, send the same request again with "
            f"request_id {command.request_id}: it is carried out once.",
        )

    async def write(self, outgoing: Outgoing, subject: str) -> None:
        """Writes a record and waits until it is durable; raises the problem when it isn't."""
        await self._deliver(outgoing, subject, "")

    async def _deliver(self, outgoing: Outgoing, subject: str, again: str) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def delivered(error: Exception | None, _offset: int) -> None:
            loop.call_soon_threadsafe(settle, error)

        try:
            self._producer.send(outgoing, delivered)
            await asyncio.wait_for(done, self._answer_seconds + _CLIENT_SECONDS)
        except RecordTooLarge as error:
            raise ProblemError(
                413, "TOO_LARGE", str(error), "Send less, or keep the data in the object store."
            ) from error
        except (Transient, TimeoutError) as error:
            raise ProblemError(
                503,
                "LOG_UNAVAILABLE",
                f"Kafka did not acknowledge the change of {subject}: {error or 'no answer in time'}. It will not be "
                "sent again; whether it was stored before the broker went silent is not known.",
                f"Check that the broker runs (spinner status), then send the same request again{again}.",
            ) from error

    def _answer(self, request_id: str) -> Row | None:
        with self._engine.connect() as connection:
            return lists.answer_of(connection, request_id)

    def close(self) -> None:
        self._producer.close()


def rejection(answer: Row) -> ProblemError:
    """Returns the problem that a CommandRejected means."""
    return refusal_problem(answer["code"] or "REJECTED", str(answer["message"]))


def refusal_problem(code: str, text: str) -> ProblemError:
    """Returns the problem that a scheduler's refusal means; its text ends with ": " and how to mend it."""
    status = 404 if code.endswith("_NOT_FOUND") else 400 if code in BAD_REQUEST_CODES else 409
    message, separator, fix = text.rpartition(": ")
    if not separator:
        message, fix = fix, "see the page of the run or DAG for its present state"
    return ProblemError(status, code, message, fix[:1].upper() + fix[1:])


def blob_of(conf: bytes, key: str, sha256: str, inline_limit: int) -> common_pb2.Blob:
    """Returns the blob of a JSON text: inline when small, else the reference under which it was stored."""
    if len(conf) <= inline_limit:
        return common_pb2.Blob(inline=conf, media_type="application/json")
    return common_pb2.Blob(
        object=common_pb2.ObjectRef(key=key, size=len(conf), sha256=sha256), media_type="application/json"
    )
