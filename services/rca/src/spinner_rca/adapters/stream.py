"""The faust application: every record of workflow_job_executions is handed to a handler at least once.

The handler's effect must be idempotent; the position passes a record only after the handler has returned. Only
committed records are seen: faust alone would show what schedulers aborted, since it reads committed records only in
its own exactly-once mode, which is not needed here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiokafka  # type: ignore[import-untyped]
import faust
from faust.transport.drivers import aiokafka as driver
from spinner_eventlog.envelope import unwrap
from spinner_eventlog.interface import Record

TOPIC = "workflow_job_executions"
_FETCH_BYTES = 256 * 1024
_FETCH_WAIT_MS = 500
SESSION_SECONDS = 6.0
"""How long after a kill the next process waits for its partitions; the broker's default minimum."""
Handler = Callable[[Record], Awaitable[None]]


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Read when it starts; faust has no settings for them. A diagnosis may come half a second later, while an answer
        # of the broker for each task that ends would cost more than all else here.
        consumer._isolation_level = "read_committed"
        consumer._fetch_min_bytes = _FETCH_BYTES
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


def create_stream(bootstrap: str, prefix: str, handler: Handler) -> faust.App:
    """Returns the application, not yet started. The topic must exist."""
    app = faust.App(
        f"{prefix}rca",
        broker=[f"kafka://{address.strip()}" for address in bootstrap.split(",")],
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=SESSION_SECONDS / 3,
        broker_commit_interval=0.5,
        stream_wait_empty=True,
        store="memory://",
        # Faust makes its folder whether it keeps tables or not; this application keeps none.
        datadir=str(Path(tempfile.gettempdir(), f"spinner-{prefix}rca")),
        debug=False,
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    topic = app.topic(prefix + TOPIC, key_serializer="raw", value_serializer="raw", internal=False)

    @app.agent(topic, name="diagnose")
    async def diagnose(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            headers = message.headers or ()
            pairs = headers.items() if hasattr(headers, "items") else headers
            await handler(
                unwrap(
                    TOPIC,
                    message.partition,
                    message.offset,
                    int((message.timestamp or 0) * 1000),
                    message.key,
                    message.value,
                    pairs,
                )
            )

    return app
