"""One name for messages of all kinds of queues."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from spinner.exceptions import SpinnerDagError
from spinner.triggers.base import BaseEventTrigger, TriggerEvent

_SQS = re.compile(r"https?://.*sqs.*|https://queue\.amazonaws\.com/.*")


class MessageQueueTrigger(BaseEventTrigger):
    """Fires for each message of ``queue``: ``kafka://host:port/topic[,topic]`` or the URL of an SQS queue.

    Or by ``scheme``: "kafka" or "sqs", with the arguments of its own trigger; so other arguments are given, too.
    """

    def __init__(self, *, queue: str | None = None, scheme: str | None = None, **arguments: Any) -> None:
        self.trigger = _trigger(queue, scheme, arguments)
        self.waits_until_counted = self.trigger.waits_until_counted

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return self.trigger.serialize()

    def needs_bundle(self) -> bool:
        return self.trigger.needs_bundle()

    def run(self) -> AsyncIterator[TriggerEvent]:
        self.trigger.watching, self.trigger.cursor = self.watching, self.cursor
        return self.trigger.run()

    async def cleanup(self) -> None:
        await self.trigger.cleanup()


def _trigger(queue: str | None, scheme: str | None, arguments: dict[str, Any]) -> BaseEventTrigger:
    kind, _, rest = (queue or "").partition("://")
    if scheme == "kafka" or kind == "kafka":
        from spinner.triggers.kafka import KafkaMessageQueueTrigger

        if queue:
            servers, _, topics = rest.partition("/")
            arguments.setdefault("topics", [topic for topic in topics.split(",") if topic])
            if servers:
                arguments.setdefault("config", {"bootstrap.servers": servers})
        if not arguments.get("topics"):
            raise SpinnerDagError(
                "MessageQueueTrigger has no Kafka topic.", "Use queue='kafka://host:9092/topic' or topics=['topic']."
            )
        return KafkaMessageQueueTrigger(**arguments)
    if scheme == "sqs" or (queue and _SQS.fullmatch(queue)):
        from spinner.triggers.sqs import SqsSensorTrigger

        if queue:
            arguments.setdefault("sqs_queue", queue)
        return SqsSensorTrigger(**arguments)
    raise SpinnerDagError(
        f"MessageQueueTrigger knows no queue {queue or scheme!r}.",
        "Use kafka://host:9092/topic, the URL of an SQS queue, or a trigger of your own.",
    )
