"""What the executor counts; Prometheus names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """One set for each executor process; `registry` None makes a private one (tests)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.orders = Counter("spinner_executor_orders", "Order records read", registry=registry)
        self.launches = Counter("spinner_executor_launches", "Workers asked for", registry=registry)
        self.adopted = Counter("spinner_executor_adopted", "Living workers found after a restart", registry=registry)
        self.live = Gauge("spinner_executor_live_workers", "Workers that live", registry=registry)
        self.waiting = Gauge("spinner_executor_waiting_orders", "Orders that wait for a free slot", registry=registry)
        self.deferred = Gauge("spinner_executor_deferred_tries", "Triggers that wait", registry=registry)
        self.triggerers = Gauge("spinner_executor_triggerers", "Triggerer processes", registry=registry)
        self.triggerer_deaths = Counter(
            "spinner_executor_triggerer_deaths", "Ends of triggerer processes", ["fault"], registry=registry
        )
        self.grant_seconds = Histogram(
            "spinner_executor_grant_seconds",
            "From asking for a grant to its commit",
            buckets=_SECONDS,
            registry=registry,
        )
        self.start_seconds = Histogram(
            "spinner_executor_start_seconds",
            "From the launch to the granted start",
            buckets=_SECONDS,
            registry=registry,
        )
        self.ends = Counter("spinner_executor_ends", "Reported ends of segments", ["outcome"], registry=registry)
