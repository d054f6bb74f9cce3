"""What runs one try in a worker: ``python -m spinner.runtime``, or a child of a fork server.

A fork server calls :func:`preload` once; its children call :func:`spinner.runtime.runner.run_local`.
"""

from __future__ import annotations

from importlib import import_module

_PRELOADED = (
    "spinner.runtime.runner", "spinner.runtime.connection", "spinner.runtime.context", "spinner.runtime.templates",
    "spinner.serialization", "spinner.operators.decorated", "spinner.operators.empty",
    "spinner.operators.latest_only", "spinner.operators.trigger_dagrun", "spinner.sensors.date_time",
    "spinner.sensors.external_task", "spinner.sensors.filesystem", "spinner.sensors.time_delta",
    "spinner.sensors.time_sensor", "spinner.core.decorators", "spinner.core.dynamic", "spinner.timetables",
    "spinner.variables", "spinner.connections", "spinner.macros", "jinja2", "jinja2.nativetypes", "jinja2.sandbox",
    "dateutil.relativedelta", "json", "csv", "decimal", "tempfile", "subprocess", "zoneinfo", "traceback", "queue",
)  # fmt: skip


def preload() -> None:
    """Imports everything that a try needs, and starts no thread. Freezes the garbage collector's view of it."""
    import gc

    for name in _PRELOADED:
        import_module(name)
    from spinner.runtime.templates import warm_up

    warm_up()
    gc.collect()
    gc.freeze()
