"""The composition root: rules, log, store, stream, gRPC."""

from __future__ import annotations

import asyncio
import logging
from importlib import resources
from pathlib import Path

from spinner_eventlog.kafka import KafkaLog
from spinner_objectstore import open_store
from spinner_servicekit import grpc_server
from spinner_servicekit.app import App

from spinner_rca.adapters.diagnoser import Diagnoser
from spinner_rca.adapters.stream import create_stream
from spinner_rca.api import grpc_service
from spinner_rca.domain.rules import Rules, load_rules
from spinner_rca.settings import Settings


def read_rules(file: str) -> Rules:
    """Returns the rules of a file, or those that come with the service; raises RulesInvalid, OSError."""
    if file:
        return load_rules(Path(file).read_text())
    return load_rules(resources.files("spinner_rca.domain").joinpath("rules.yaml").read_text())


async def serve(app: App[Settings]) -> None:
    """Diagnoses until the service is stopped."""
    settings = app.settings
    for noisy in ("faust", "aiokafka", "mode", "spinner_rca.adapters.stream"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    rules = read_rules(settings.rules_file)
    log = KafkaLog(settings.kafka, "rca", prefix=settings.topic_prefix)
    store = open_store(settings.object_store, settings.s3_endpoint or None)
    diagnoser = Diagnoser(log, store, rules, settings.log_tail_bytes)
    stream = create_stream(settings.kafka, settings.topic_prefix, diagnoser.handle)
    server = await grpc_server.serve_async(
        settings.grpc_address, [grpc_service.SERVICE], lambda target: grpc_service.register(target, rules)
    )
    try:
        stream.finalize()
        await stream.start()
        app.ready(grpc=server.address)
        await stream.wait_until_stopped()
        if not app.stopping.is_set():
            raise RuntimeError(f"the stream stopped by itself: {stream.crash_reason or 'no reason given'}")
    finally:
        await stream.stop()
        await server.stop(1.0)
        diagnoser.close()
        await asyncio.to_thread(log.close)
