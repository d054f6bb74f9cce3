"""The composition root: builds the adapters, starts the loops, and takes them down in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import REGISTRY
from spinner_eventlog.dead_letter import dead_letter
from spinner_eventlog.interface import EventLog, Poison, Record, partition_for
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.kafka_client import Tuning
from spinner_objectstore import open_store
from spinner_proto.executor.v1.executor_pb2_grpc import add_ExecutorServiceServicer_to_server
from spinner_proto.runtime.v1.runtime_pb2_grpc import add_TaskRuntimeServiceServicer_to_server
from spinner_servicekit import grpc_server
from spinner_servicekit.app import App

from spinner_executor.adapters.backend import Backend
from spinner_executor.adapters.bundles import BundleCache, Limits
from spinner_executor.adapters.journal import journal_cipher
from spinner_executor.adapters.local.backend import LocalBackend, short_socket_path
from spinner_executor.adapters.orders import OrderFeed
from spinner_executor.adapters.reports import Reporter
from spinner_executor.adapters.runs import RunsView
from spinner_executor.adapters.secrets.configured import secret_chain
from spinner_executor.adapters.secrets.simple import OwnSecrets
from spinner_executor.adapters.usage import UsageView
from spinner_executor.adapters.views import SharedView
from spinner_executor.api.frames import WorkerSockets
from spinner_executor.api.runtime import Runtime
from spinner_executor.api.services import EXECUTOR_SERVICE, RUNTIME_SERVICE, ExecutorServicer, runtime_servicer
from spinner_executor.control.context import Context
from spinner_executor.control.controller import Controller
from spinner_executor.control.metrics import Metrics
from spinner_executor.domain.prediction import Policy
from spinner_executor.settings import Settings

_log = logging.getLogger(__name__)
_USAGE_SECONDS = 3.0
_POD_LINGER_MS = 20.0
_DRAIN_SECONDS = 5.0
_SWITCH_SECONDS = 0.0005


class Life(Protocol):
    """The part of servicekit's App that an executor needs."""

    def ready(self, grpc: str = "", http: str = "") -> None: ...
    def crash(self, failure: BaseException) -> None: ...


async def main(app: App[Settings]) -> None:
    """Runs the executor until it is cancelled."""
    settings = app.settings
    # Live tries are many and have few cycles: with the defaults the collector walks them again and again.
    gc.set_threshold(50_000, 20, 100)
    # A word from Kafka or a worker passes from thread to thread: it should not wait 5 ms for each.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Pods take seconds: their reports may wait a moment for others, which spares the broker requests.
    linger_ms = 0.0 if settings.executor_backend == "local" else _POD_LINGER_MS
    log = KafkaLog(settings.kafka, "spinner-executor", settings.topic_prefix, Tuning(linger_ms=linger_ms))
    try:
        await serve(settings, log, app, Metrics(REGISTRY))
    finally:
        log.close()


async def serve(settings: Settings, log: EventLog, life: Life, metrics: Metrics) -> None:
    """Runs an executor over `log` until it is cancelled; `life` hears when it is ready and when it must end."""
    loop = asyncio.get_running_loop()
    data = settings.executor_data.absolute()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(16, thread_name_prefix="blocking")
    store = open_store(settings.object_store, settings.s3_endpoint or None)
    producer = log.producer(f"executor-{settings.cluster}")
    reporter = Reporter(producer, loop)
    bundles = BundleCache(
        data / "bundles", store, pool, Limits(settings.bundle_cache_bytes, settings.bundle_cache_seconds)
    )
    shared = SharedView(log, settings.secret_key.get_secret_value())
    runs = RunsView(log, [f"{settings.cluster}_tier_{tier}" for tier in settings.tiers])
    count = await asyncio.to_thread(log.partition_count, f"task_orders-{settings.cluster}")
    backend = await _backend(settings, data, lambda key: partition_for(key, count), pool)
    paths = {n: short_socket_path(data, f"{settings.cluster}-{n}.sock") for n in range(count)}
    usage = UsageView(log, memory_policy(settings))
    context = Context(settings, backend, reporter, bundles, store, pool, metrics, usage, journal_cipher(data))

    def address_of(partition: int) -> str:
        """Where workers reach this executor: a partition's socket, or the gRPC server from elsewhere."""
        if settings.executor_backend == "local":
            return paths[partition]
        return settings.kubernetes_address or context.advertised_address

    controller = Controller(context, address_of, runs)
    runtime = Runtime(controller, shared, runs, secret_chain(settings, OwnSecrets(shared)))
    controller.triggers.answer = runtime.answer_trigger
    sockets = WorkerSockets(runtime, paths)
    controller.on_partition = lambda partition, owned: (sockets.open if owned else sockets.close)(partition)

    def poisoned(poison: Poison, record: Record) -> None:
        _log.error("unreadable record: %s", poison)
        reporter.post(dead_letter(record, poison.reason))

    def register(server: Any) -> None:
        add_TaskRuntimeServiceServicer_to_server(runtime_servicer(runtime), server)
        add_ExecutorServiceServicer_to_server(ExecutorServicer(controller), server)

    server = await grpc_server.serve_async(settings.grpc_address, [RUNTIME_SERVICE, EXECUTOR_SERVICE], register)
    context.advertised_address = settings.executor_advertised or server.address
    if isinstance(backend, LocalBackend):
        sockets.open_idle(backend.idle)
    feed = OrderFeed(log, settings.cluster, controller, loop, poisoned, life.crash)
    controller.on_fenced = feed.fenced
    ticking = asyncio.ensure_future(controller.run())
    try:
        usage.start()
        shared.start()
        await backend.start(controller)
        # The first launches should know what was learned; without Kafka they wait for orders anyway.
        await asyncio.to_thread(usage.ready.wait, _USAGE_SECONDS)
        feed.start()
        life.ready(grpc=server.address)
        await ticking
    finally:
        ticking.cancel()
        await asyncio.to_thread(feed.stop)
        await backend.close(settings.executor_stop_workers)
        sockets.close_idle()
        for partition in range(count):
            sockets.close(partition)
        await server.stop(1.0)
        await controller.triggers.close()
        await controller.ends.uploads.drain(_DRAIN_SECONDS)
        controller.close()
        bundles.close()
        usage.flush(reporter.post)
        await asyncio.sleep(0)
        reporter.flush()
        await asyncio.to_thread(producer.flush, 5.0)
        for view in (shared, runs, usage):
            await asyncio.to_thread(view.stop)
        pool.shutdown(wait=False, cancel_futures=True)


async def _backend(settings: Settings, data: Path, partition_of: Callable[[str], int], pool: Executor) -> Backend:
    if settings.executor_backend == "local":
        os.environ["SPINNER_CACHE_BYTES"] = str(settings.cache_bytes)  # workers inherit it; they read no units
        return LocalBackend(
            data, settings.executor_entry, settings.executor_ahead, partition_of, pool, settings.executor_niceness
        )
    from spinner_executor.adapters.kubernetes.backend import KubernetesBackend
    from spinner_executor.adapters.kubernetes.backend import Limits as PodLimits
    from spinner_executor.adapters.kubernetes.client import Client
    from spinner_executor.adapters.kubernetes.pod import PodSettings, read_template

    pods = PodSettings(
        namespace=settings.kubernetes_namespace or f"spinner-{settings.cluster}",
        cluster=settings.cluster,
        image=settings.kubernetes_image,
        service_account=settings.kubernetes_service_account,
        template=read_template(settings.kubernetes_template),
        cache=settings.kubernetes_cache,
        legacy_image=settings.kubernetes_legacy_image,
        annotations=settings.kubernetes_annotations,
        kill_grace_seconds=max(1, round(settings.kill_grace_seconds)),
        log_bounds=settings.log_bounds,
        log_rate=settings.kubernetes_log_rate,
        cache_bytes=settings.cache_bytes,
    )
    limits = PodLimits(
        settings.kubernetes_pending_seconds, settings.kubernetes_image_seconds, settings.kubernetes_resync_seconds
    )
    client = await Client.connect(settings.kubernetes_config, settings.kubernetes_parallel_calls)
    return KubernetesBackend(client, pods, limits, data, partition_of, pool)


def memory_policy(settings: Settings) -> Policy:
    """How memory is learned, by the settings."""
    return Policy(
        settings.memory_learning,
        settings.memory_percentile,
        settings.memory_head_room,
        settings.memory_minimum,
        settings.memory_maximum,
    )
