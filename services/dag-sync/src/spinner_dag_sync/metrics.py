"""Prometheus metrics of dag-sync."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from spinner_dagbag import ParsedFile

from spinner_dag_sync.bundle_sync import BundleSync

_NAMESPACE = "spinner_dag_sync"
LAP_SECONDS = Histogram("lap_seconds", "Time of one look at a bundle", ["bundle"], namespace=_NAMESPACE)
FAILED_LAPS = Counter(
    "failed_laps", "Looks that the log or the object store broke off", ["bundle"], namespace=_NAMESPACE
)
PARSED_FILES = Counter("parsed_files", "DAG files read, by outcome", ["outcome"], namespace=_NAMESPACE)
PARSE_SECONDS = Histogram("parse_seconds", "Time to read one DAG file", namespace=_NAMESPACE)
UNREADABLE_RECORDS = Counter("unreadable_records", "Records that could not be read at start", namespace=_NAMESPACE)
_DAGS = Gauge("dags", "DAGs that are current", ["bundle"], namespace=_NAMESPACE)
_ERRORS = Gauge("parse_errors", "Files with errors", ["bundle"], namespace=_NAMESPACE)


def observe(sync: BundleSync) -> None:
    """Sets the gauges of a bundle."""
    _DAGS.labels(sync.bundle.name).set(sync.status.dags)
    _ERRORS.labels(sync.bundle.name).set(sync.status.errors)


def parsed(file: ParsedFile) -> None:
    """Counts a file that was read."""
    PARSED_FILES.labels(file.error.error_type if file.error is not None else "ok").inc()
    PARSE_SECONDS.observe(file.seconds)
