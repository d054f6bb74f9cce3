"""The composition root of dag-sync."""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path

import grpc
from spinner.serialization import content_version
from spinner_dagbag import BoundedRunner, DagParser
from spinner_dagbag.parsing import PRELOAD
from spinner_eventlog.interface import Transient
from spinner_eventlog.kafka import KafkaLog
from spinner_objectstore import Unavailable, open_store
from spinner_proto.dagsync.v1 import dagsync_pb2, dagsync_pb2_grpc
from spinner_servicekit import grpc_server
from spinner_servicekit.app import App

from spinner_dag_sync import metrics
from spinner_dag_sync.adapters.log import LogWriter
from spinner_dag_sync.adapters.requests import RequestFollower
from spinner_dag_sync.adapters.sources import source_of
from spinner_dag_sync.adapters.token_fetcher import TokenFetcher
from spinner_dag_sync.api.service import DagSyncService
from spinner_dag_sync.bundle_parser import BundleParser
from spinner_dag_sync.bundle_sync import Reader, Shared
from spinner_dag_sync.domain.config import Bundle
from spinner_dag_sync.domain.ledger import Ledger
from spinner_dag_sync.domain.requests import Requests
from spinner_dag_sync.readers import DagFileReader, PinballReader
from spinner_dag_sync.settings import DagSyncSettings
from spinner_dag_sync.supervisor import Supervisor

_logger = logging.getLogger(__name__)
_SERVICE = dagsync_pb2.DESCRIPTOR.services_by_name["DagSyncService"].full_name


def main(app: App[DagSyncSettings]) -> None:
    """Builds the service and runs it until it is stopped."""
    settings = app.settings
    work = _work_folder(app)
    runner = BoundedRunner(PRELOAD, settings.parse_parallel)
    # Warms up while Kafka is read.
    runner.start()
    app.on_stop(runner.close)
    parser = DagParser(runner=runner)
    log = KafkaLog(settings.kafka, "dag-sync", settings.topic_prefix)
    app.on_stop(log.close)
    writer = LogWriter(log)
    objects = open_store(settings.object_store, settings.s3_endpoint or None)
    requests = Requests()
    follower = RequestFollower(log, requests, lambda bundle: supervisor.wake(bundle))
    ledger = _recovered(app, writer, follower)
    if ledger is None:
        return
    shared = Shared(ledger, writer, objects, settings.cluster, content_version)

    def reader_of(bundle: Bundle, folder: Path) -> Reader:
        if bundle.kind == "pinball":
            return PinballReader(bundle, TokenFetcher(bundle.token_fetcher or settings.token_fetcher), folder)
        source = source_of(bundle, folder, settings.s3_endpoint or None)
        return DagFileReader(source, BundleParser(bundle, parser, metrics.parsed, requests), folder)

    supervisor = Supervisor(settings.bundles, work, shared, reader_of)
    app.on_stop(supervisor.stop)
    follower.start()
    app.on_stop(follower.stop)
    server = grpc_server.serve(
        settings.grpc_address,
        [_SERVICE],
        lambda server: dagsync_pb2_grpc.add_DagSyncServiceServicer_to_server(DagSyncService(supervisor), server),  # type: ignore[arg-type]
        errors={Transient: grpc.StatusCode.UNAVAILABLE, Unavailable: grpc.StatusCode.UNAVAILABLE},
    )
    app.on_stop(server.stop)
    threading.Thread(target=supervisor.watch, name="bundles", daemon=True).start()
    app.ready(grpc=server.address)
    app.wait()


def _recovered(app: App[DagSyncSettings], writer: LogWriter, follower: RequestFollower) -> Ledger | None:
    """Reads the ledger from the log, waiting for Kafka as long as it takes; None when the service is stopped."""
    while not app.stopping.is_set():
        try:
            ledger, unreadable = writer.recover()
            follower.recover()
        except Transient as error:
            _logger.warning("Waiting for Kafka at %s: %s", app.settings.kafka, error)
            app.wait(1.0)
            continue
        metrics.UNREADABLE_RECORDS.inc(unreadable)
        if unreadable:
            _logger.warning("%d records of the log can't be read and are passed over", unreadable)
        return ledger
    return None


def _work_folder(app: App[DagSyncSettings]) -> Path:
    if app.settings.state_folder:
        folder = Path(app.settings.state_folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    temporary = tempfile.TemporaryDirectory(prefix="spinner-dag-sync-")
    app.on_stop(temporary.cleanup)
    return Path(temporary.name)
