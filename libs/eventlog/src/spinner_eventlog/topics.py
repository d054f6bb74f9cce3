"""The topic registry: one YAML file a topic, from which topics are created and sizes are checked.

`per: cell` and `per: cluster` topics exist once for each, named `<topic>-<cluster>_tier_<n>` and `<topic>-<cluster>`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field

from spinner_eventlog.interface import Transient

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

DEFAULT_MAX_MESSAGE_BYTES = 1_048_576
# Both load plain values only; the one in C takes a tenth of the time.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FRAMING_BYTES = 65_536  # a batch's own bytes; the broker's limit counts them, ours counts the record


class Topic(BaseModel):
    """A declared topic. `retention_hours` -1 keeps for ever; None for compacted topics.

    `min_compaction_lag_hours`: for how long compaction leaves everything, also what was aborted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    owner: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    key: str
    schema_name: str = Field(alias="schema")
    partitions: int = Field(ge=1)
    cleanup: Literal["delete", "compact"]
    retention_hours: int | None = None
    min_compaction_lag_hours: int = 0
    max_message_bytes: int = Field(ge=1024)
    per: Literal["cell", "cluster"] | None = None

    def names(self, clusters: Iterable[str], tiers: Iterable[int]) -> list[str]:
        """The topics that exist for these clusters and tiers."""
        if self.per is None:
            return [self.topic]
        if self.per == "cluster":
            return [f"{self.topic}-{cluster}" for cluster in clusters]
        tiers = list(tiers)
        return [f"{self.topic}-{cell(cluster, tier)}" for cluster in clusters for tier in tiers]

    def configs(self) -> dict[str, str]:
        """Broker-side settings of the topic."""
        configs = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.max_message_bytes + _FRAMING_BYTES),
            "segment.index.bytes": "1048576",
        }
        if self.cleanup == "compact":
            # Only closed segments are compacted: small ones keep a view's rebuild short on an embedded broker.
            configs |= {
                "segment.bytes": str(max(16_777_216, 2 * self.max_message_bytes)),
                "segment.ms": "3600000",
                "min.cleanable.dirty.ratio": "0.2",
                "delete.retention.ms": "86400000",
                "min.compaction.lag.ms": str(self.min_compaction_lag_hours * 3_600_000),
            }
        else:
            hours = self.retention_hours if self.retention_hours is not None else 168
            configs |= {
                "retention.ms": str(-1 if hours < 0 else hours * 3_600_000),
                "segment.bytes": "67108864",
            }
        return configs


class CreatesTopics(Protocol):
    """The in-memory log: it makes topics itself."""

    def create_topic(self, name: str, partitions: int) -> None: ...


@cache
def registry() -> Mapping[str, Topic]:
    """All declared topics by their base name."""
    found = {}
    for entry in sorted(resources.files("spinner_eventlog").joinpath("topics").iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".yaml"):
            declaration = yaml.load(entry.read_text(), _Loader)  # noqa: S506 - see _Loader
            topic = Topic.model_validate(declaration)
            found[topic.topic] = topic
    return found


def declared(name: str) -> Topic | None:
    """The declaration behind an actual topic name; None for a topic that isn't ours."""
    return registry().get(name.partition("-")[0])


def max_message_bytes(name: str) -> int:
    """The largest record (key, compressed value, headers) that a topic takes."""
    topic = declared(name)
    return topic.max_message_bytes if topic else DEFAULT_MAX_MESSAGE_BYTES


def cell(cluster: str, tier: int) -> str:
    return f"{cluster}_tier_{tier}"


def inbox_topic(cluster: str, tier: int) -> str:
    return f"scheduler_inbox-{cell(cluster, tier)}"


def events_topic(cluster: str, tier: int) -> str:
    return f"workflow_events-{cell(cluster, tier)}"


def snapshots_topic(cluster: str, tier: int) -> str:
    return f"scheduler_snapshots-{cell(cluster, tier)}"


def orders_topic(cluster: str) -> str:
    return f"task_orders-{cluster}"


def grants_topic(cluster: str) -> str:
    return f"task_grants-{cluster}"


def logs_topic(cluster: str) -> str:
    return f"task_logs-{cluster}"


def planned(
    clusters: Iterable[str], tiers: Iterable[int], partitions: Mapping[str, int] | None = None
) -> dict[str, tuple[Topic, int]]:
    """Every topic that an installation needs: name → (declaration, partitions).

    `partitions` overrides counts by base name (`scheduler_inbox`) or full name. Inbox, events and snapshots of a cell
    share their partition numbers, so an override of the inbox holds for all three; so do orders and grants.
    """
    override = dict(partitions or {})
    for follower in ("workflow_events", "scheduler_snapshots"):
        if "scheduler_inbox" in override:
            override.setdefault(follower, override["scheduler_inbox"])
    if "task_orders" in override:
        override.setdefault("task_grants", override["task_orders"])
    clusters, tiers = list(clusters), list(tiers)
    return {
        name: (topic, override.get(name, override.get(topic.topic, topic.partitions)))
        for topic in registry().values()
        for name in topic.names(clusters, tiers)
    }


def create_topics(
    target: str | CreatesTopics,
    clusters: Iterable[str] = ("spinner",),
    tiers: Iterable[int] = (1, 2, 3),
    partitions: Mapping[str, int] | None = None,
    prefix: str = "",
    replication_factor: int = -1,
    timeout_seconds: float = 30.0,
) -> list[str]:
    """Creates the missing topics on a broker (`target`: bootstrap servers) or an in-memory log; returns their names.

    Idempotent; existing topics are left as they are. Blocks until the new topics have leaders.
    Raises Transient when the broker doesn't answer in time.
    """
    wanted = planned(clusters, tiers, partitions)
    if not isinstance(target, str):
        for name, (_, count) in wanted.items():
            target.create_topic(name, count)
        return list(wanted)
    return _create_on_broker(target, wanted, prefix, replication_factor, timeout_seconds)


def _create_on_broker(
    bootstrap: str,
    wanted: Mapping[str, tuple[Topic, int]],
    prefix: str,
    replication_factor: int,
    timeout_seconds: float,
) -> list[str]:
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    deadline = time.monotonic() + timeout_seconds
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        existing = set(admin.list_topics(timeout=timeout_seconds).topics)
        missing = [name for name in wanted if prefix + name not in existing]
        if not missing:
            return []
        requests = [
            NewTopic(
                prefix + name,
                num_partitions=wanted[name][1],
                replication_factor=replication_factor,
                config=wanted[name][0].configs(),
            )
            for name in missing
        ]
        for future in admin.create_topics(requests, request_timeout=timeout_seconds).values():
            try:
                future.result(timeout_seconds + 2.0)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        _await_leaders(admin, {prefix + name for name in missing}, deadline)
    except KafkaException as error:
        raise Transient(f"creating topics at {bootstrap}: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise Transient(f"creating topics at {bootstrap}: no answer in {timeout_seconds:g} s") from error
    return missing


def _await_leaders(admin: AdminClient, names: set[str], deadline: float) -> None:
    while True:
        topics = admin.list_topics(timeout=max(0.1, deadline - time.monotonic())).topics
        if all(
            name in topics and topics[name].partitions and all(p.leader >= 0 for p in topics[name].partitions.values())
            for name in names
        ):
            return
        if time.monotonic() > deadline:
            raise Transient(f"topics have no leader yet: {', '.join(sorted(names)[:5])}")
        time.sleep(0.02)
