"""Prometheus metrics of partition loops and of dead letters."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

DEAD_LETTERS = Counter("spinner_dead_letters_total", "Foreign records that could not be read", ["topic"])
RECORDS = Counter("spinner_loop_records_total", "Input records whose outputs are committed", ["topic", "partition"])
OUTPUTS = Counter("spinner_loop_outputs_total", "Records written by partition loops", ["topic", "partition"])
REBUILDS = Counter("spinner_loop_rebuilds_total", "Partitions thrown away and rebuilt", ["topic", "partition", "why"])
OWNED = Gauge("spinner_loop_owned", "1 while this process owns and runs the partition", ["topic", "partition"])
HANDLE_SECONDS = Histogram(
    "spinner_loop_handle_seconds",
    "Time of a state machine for one batch",
    ["topic"],
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)
COMMIT_SECONDS = Histogram(
    "spinner_loop_commit_seconds",
    "Time of one transaction with outputs and offsets",
    ["topic"],
    buckets=(0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)
