"""Messages of an SQS queue, such as notifications of S3, as events of an asset. Needs ``spinner[s3]``.

A message is deleted when its events are counted; one that comes again has the same ids. Of a notification of S3 each
record is an event, with bucket, key and sequencer as id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from spinner.triggers.base import BaseEventTrigger, TriggerEvent, WatchedEvent
from spinner.triggers.s3 import aws_client


class SqsSensorTrigger(BaseEventTrigger):
    """Fires for each message, or each record of S3's in it.

    The payload is the record, or the body of the message as ``{"MessageId": …, "Body": …}``.
    """

    waits_until_counted = True

    def __init__(
        self,
        sqs_queue: str,
        aws_conn_id: str | None = "aws_default",
        max_messages: int = 10,
        wait_time_seconds: int = 5,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.sqs_queue = sqs_queue
        self.aws_conn_id = aws_conn_id
        self.max_messages = max_messages
        self.wait_time_seconds = wait_time_seconds
        self.client_options = dict(client_options or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.sqs.SqsSensorTrigger", {
            "sqs_queue": self.sqs_queue, "aws_conn_id": self.aws_conn_id, "max_messages": self.max_messages,
            "wait_time_seconds": self.wait_time_seconds, "client_options": self.client_options,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        client = await asyncio.to_thread(aws_client, "sqs", self.aws_conn_id, self.client_options)
        while True:
            answer = await asyncio.to_thread(
                client.receive_message,
                QueueUrl=self.sqs_queue,
                MaxNumberOfMessages=self.max_messages,
                WaitTimeSeconds=self.wait_time_seconds,
            )
            for message in answer.get("Messages", ()):
                for event in _events(message):
                    yield event
                await asyncio.to_thread(
                    client.delete_message, QueueUrl=self.sqs_queue, ReceiptHandle=message["ReceiptHandle"]
                )
            await asyncio.sleep(0)


def _events(message: Mapping[str, Any]) -> Iterator[WatchedEvent]:
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = None
    records = body.get("Records") if isinstance(body, dict) else None
    if isinstance(records, list) and records and all(isinstance(one, dict) and "s3" in one for one in records):
        for one in records:
            thing = one["s3"]["object"]
            thing["key"] = unquote_plus(thing["key"])
            place = f"{one['s3']['bucket']['name']}/{thing['key']}"
            mark = thing.get("sequencer") or thing.get("eTag") or message["MessageId"]
            yield WatchedEvent(one, event_id=f"{place}@{mark}")
        return
    yield WatchedEvent({"MessageId": message["MessageId"], "Body": message["Body"]}, event_id=message["MessageId"])
