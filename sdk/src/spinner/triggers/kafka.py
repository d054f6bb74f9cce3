"""Messages of Kafka topics, as events of an asset. Needs ``spinner[kafka]``.

Every message is an event with its topic, partition and offset as id; the next offsets are the cursor. No offsets are
committed: the group is only a name, and partitions are assigned here. A watcher begins at the end of its topics, and
at the beginning of partitions that come later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from spinner.exceptions import SpinnerException
from spinner.triggers.base import BaseEventTrigger, Bookmark, TriggerEvent, WatchedEvent

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

_BATCH = 100
# How often new partitions are looked for, and how long a broker may take to answer.
_REFRESH_SECONDS = 30.0
_ANSWER_SECONDS = 20.0


class KafkaMessageQueueTrigger(BaseEventTrigger):
    """Fires for each message of the topics.

    ``kafka_config_id``: the connection whose extra is the configuration of the consumer; ``config`` goes first, and
    with ``bootstrap.servers`` in it no connection is needed. ``apply_function``: import path of a function of the
    bundle that makes the payload of a message (``confluent_kafka.Message``); for None there is no event. Otherwise the
    payload is ``topic, partition, offset, timestamp`` (ms), ``key`` and ``value`` as text.
    """

    def __init__(
        self,
        topics: Sequence[str],
        kafka_config_id: str = "kafka_default",
        apply_function: str | None = None,
        apply_function_args: Sequence[Any] = (),
        apply_function_kwargs: Mapping[str, Any] | None = None,
        poll_interval: float = 0.2,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.topics = [topics] if isinstance(topics, str) else list(topics)
        self.kafka_config_id = kafka_config_id
        self.apply_function = apply_function
        self.apply_function_args = list(apply_function_args)
        self.apply_function_kwargs = dict(apply_function_kwargs or {})
        self.poll_interval = poll_interval
        self.config = dict(config or {})
        self._consumer: Consumer | None = None
        # The next offset by topic and partition.
        self._next: dict[str, dict[int, int]] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.kafka.KafkaMessageQueueTrigger", {
            "topics": self.topics, "kafka_config_id": self.kafka_config_id, "apply_function": self.apply_function,
            "apply_function_args": self.apply_function_args, "apply_function_kwargs": self.apply_function_kwargs,
            "poll_interval": self.poll_interval, "config": self.config,
        }  # fmt: skip

    def needs_bundle(self) -> bool:
        return self.apply_function is not None

    async def run(self) -> AsyncIterator[TriggerEvent | Bookmark]:  # type: ignore[override]
        make_payload = self._payload_function()
        consumer = self._consumer = await asyncio.to_thread(self._connect)
        known = json.loads(self.cursor) if self.cursor else {}
        self._next = {
            topic: {int(number): offset for number, offset in known[topic].items()}
            for topic in self.topics
            if topic in known
        }
        if await asyncio.to_thread(self._assign, consumer, not known):
            yield Bookmark(self._cursor())
        loop = asyncio.get_running_loop()
        refresh = loop.time() + _REFRESH_SECONDS
        while True:
            messages = consumer.consume(_BATCH, 0)
            for message in messages:
                self._check(message)
                topic, number, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
                if offset < self._next[topic][number]:
                    continue
                self._next[topic][number] = offset + 1
                payload = make_payload(message)
                if payload is None:
                    yield Bookmark(self._cursor())
                else:
                    yield WatchedEvent(payload, event_id=f"{topic}/{number}/{offset}", cursor=self._cursor())
            if not messages:
                await asyncio.sleep(self.poll_interval)
            if loop.time() > refresh:
                refresh = loop.time() + _REFRESH_SECONDS
                if await asyncio.to_thread(self._assign, consumer, False):
                    yield Bookmark(self._cursor())

    async def cleanup(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await asyncio.to_thread(consumer.close)

    def _cursor(self) -> str:
        return json.dumps(self._next, separators=(",", ":"), sort_keys=True)

    def _connect(self) -> Consumer:
        try:
            from confluent_kafka import Consumer
        except ImportError:
            raise SpinnerException("The triggerer has no confluent-kafka. Install spinner[kafka] there.") from None
        config = self.config
        if "bootstrap.servers" not in config:
            from spinner.connections import Connection

            connection = Connection.get(self.kafka_config_id)
            config = {**connection.extra_dejson, **config}
            if "bootstrap.servers" not in config and connection.host:
                config["bootstrap.servers"] = f"{connection.host}:{connection.port or 9092}"
        own = {"enable.auto.commit": False, "enable.partition.eof": False}
        return Consumer({"group.id": "spinner-watcher", "auto.offset.reset": "earliest", **config, **own})

    def _assign(self, consumer: Consumer, first: bool) -> bool:
        """Assigns partitions that are new; whether there were any. Blocks."""
        from confluent_kafka import TopicPartition

        new: list[TopicPartition] = []
        for topic in self.topics:
            found = consumer.list_topics(topic, _ANSWER_SECONDS).topics[topic]
            if found.error is not None:
                raise SpinnerException(f"Kafka topic {topic!r} cannot be read: {found.error.str()}")
            known = self._next.setdefault(topic, {})
            for number in sorted(found.partitions.keys() - known.keys()):
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), _ANSWER_SECONDS)
                known[number] = high if first else low
                new.append(TopicPartition(topic, number, known[number]))
        assigned = {(one.topic, one.partition) for one in consumer.assignment()}
        missing = [
            TopicPartition(topic, number, offset)
            for topic, partitions in self._next.items()
            for number, offset in partitions.items()
            if (topic, number) not in assigned
        ]
        if missing:
            consumer.incremental_assign(missing)
        return bool(new)

    def _check(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise SpinnerException(f"Kafka: {error.str()}")

    def _payload_function(self) -> Any:
        if self.apply_function is None:
            return _payload
        module, _, name = self.apply_function.rpartition(".")
        try:
            function = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise SpinnerException(f"The function {self.apply_function!r} cannot be imported: {error}") from error
        return lambda message: function(message, *self.apply_function_args, **self.apply_function_kwargs)


def _payload(message: Message) -> dict[str, Any]:
    key, value = message.key(), message.value()
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": None if key is None else bytes(key).decode(errors="replace"),
        "value": None if value is None else bytes(value).decode(errors="replace"),
    }
