"""Pools, variables and connections: written to their topics whole, secrets encrypted before they leave the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.fernet import Fernet
from spinner_eventlog.interface import Outgoing, partition_for
from spinner_eventlog.topics import inbox_topic
from spinner_proto.inbox.v1 import inbox_pb2
from spinner_proto.portal.v1 import portal_pb2
from spinner_proto.usage.v1 import usage_pb2

from spinner_webgateway.adapters.commands import Commands
from spinner_webgateway.adapters.views.lists import LOCAL_POOLS
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.who import Caller
from spinner_webgateway.domain.words import timestamp


@dataclass(frozen=True, slots=True)
class PoolAddresses:
    """Which inboxes hear of a pool: that of the partition that owns its name; for the local pools, all of them."""

    cluster: str
    tiers: Sequence[int]
    partition_count: Callable[[str], int]

    def of(self, pool: str) -> list[tuple[str, int]]:
        """Returns topics and partitions. The owner is in the lowest tier's cell, by a hash of the name."""
        if pool in LOCAL_POOLS:
            topics = [inbox_topic(self.cluster, tier) for tier in self.tiers]
            return [(topic, n) for topic in topics for n in range(self.partition_count(topic))]
        topic = inbox_topic(self.cluster, min(self.tiers))
        return [(topic, partition_for(pool, self.partition_count(topic)))]


class SettingsRecords:
    """Writes shared settings; each call returns when the change is durable."""

    def __init__(self, commands: Commands, secret_key: str, pools: PoolAddresses) -> None:
        self._commands = commands
        self._pools = pools
        self._fernet = Fernet(secret_key) if secret_key else None

    def encrypt(self, text: str) -> str:
        """Returns the Fernet token; raises the 503 problem when the installation has no key."""
        if self._fernet is None:
            raise ProblemError(
                503,
                "SECRET_KEY_MISSING",
                "Secrets can't be stored: the gateway has no key to encrypt them with.",
                "Set SPINNER_SECRET_KEY to the same Fernet key for the gateway and the executors.",
            )
        return self._fernet.encrypt(text.encode()).decode()

    async def put_pool(self, caller: Caller, name: str, slots: int, include_deferred: bool, description: str) -> None:
        pool = portal_pb2.Pool(
            name=name,
            slots=slots,
            include_deferred=include_deferred,
            description=description,
            time=timestamp(datetime.now(UTC)),
            actor=caller.actor(),
        )
        await self._commands.write(Outgoing("pools", name, pool), f"pool/{name}")
        changed = inbox_pb2.PoolChanged(slots=slots, include_deferred=include_deferred, description=description)
        await self._tell(name, changed)

    async def remove_pool(self, name: str) -> None:
        await self._commands.write(Outgoing("pools", name, None), f"pool/{name}")
        await self._tell(name, inbox_pb2.PoolChanged(deleted=True))

    async def _tell(self, pool: str, changed: inbox_pb2.PoolChanged) -> None:
        message = inbox_pb2.InboxMessage(pool=inbox_pb2.PoolMessage(pool=pool, changed=changed))
        for topic, partition in self._pools.of(pool):
            await self._commands.write(Outgoing(topic, pool, message, partition=partition), f"pool/{pool}")

    async def put_task_resources(
        self, caller: Caller, dag_id: str, task_id: str, request: int, limit: int, reset_time: datetime | None
    ) -> None:
        """Sets a task's memory in bytes, 0 for what stays learned; samples up to `reset_time` are forgotten."""
        chosen = usage_pb2.TaskResources(
            dag_id=dag_id,
            task_id=task_id,
            memory_request_bytes=request,
            memory_limit_bytes=limit,
            time=timestamp(datetime.now(UTC)),
            actor=caller.actor(),
        )
        if reset_time is not None:
            chosen.reset_time.CopyFrom(timestamp(reset_time))
        await self._commands.write(Outgoing("task_resources", f"{dag_id}/{task_id}", chosen), f"dag/{dag_id}")

    async def put_variable(self, caller: Caller, name: str, value: str, secret: bool, description: str) -> None:
        variable = portal_pb2.Variable(
            name=name,
            value=self.encrypt(value) if secret else value,
            encrypted=secret,
            description=description,
            time=timestamp(datetime.now(UTC)),
            actor=caller.actor(),
        )
        await self._commands.write(Outgoing("variables", name, variable), f"variable/{name}")

    async def put_connection(self, caller: Caller, connection: portal_pb2.Connection) -> None:
        """Writes a connection whose secrets are already encrypted."""
        connection.time.CopyFrom(timestamp(datetime.now(UTC)))
        connection.actor.CopyFrom(caller.actor())
        name = connection.connection_id
        await self._commands.write(Outgoing("connections", name, connection), f"connection/{name}")

    async def remove(self, topic: str, name: str, subject: str) -> None:
        """Writes a tombstone."""
        await self._commands.write(Outgoing(topic, name, None), subject)
