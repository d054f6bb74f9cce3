"""What runs one try in a worker: ``python -m spinner.runtime``, or a child of a fork server.

A fork server calls :func:`preload` once; its children call :func:`spinner.runtime.runner.run_local`.
"""

from __future__ import annotations

from importlib import import_module

_PRELOADED = (
    "spinner.runtime.runner",
    "spinner.runtime.execution",
    "spinner.runtime.special", "spinner.runtime.callbacks",
    "spinner.runtime.readiness",
    "spinner.runtime.pinball", "spinner.runtime.connection", "spinner.runtime.context", "spinner.runtime.templates",
    "spinner.serialization", "spinner.operators.decorated", "spinner.operators.empty",
    "spinner.operators.latest_only", "spinner.operators.trigger_dagrun", "spinner.sensors.date_time",
    "spinner.sensors.external_task", "spinner.sensors.time_delta",
    "spinner.sensors.time_sensor", "spinner.core.decorators", "spinner.core.dynamic", "spinner.timetables",
    "spinner.variables", "spinner.connections", "spinner.macros", "jinja2", "jinja2.nativetypes", "jinja2.sandbox",
    "dateutil.relativedelta", "json", "tempfile", "subprocess", "zoneinfo", "traceback", "queue",
    "spinner.runtime.output",
)  # fmt: skip


def preload() -> None:
    """Imports what nearly every try needs and rehearses one; leaves no thread. Freezes what the garbage collector sees.

    Nothing more: a library of C costs each fork and its end some 10 µs (five mappings), used or not.
    """
    import gc

    for name in _PRELOADED:
        import_module(name)
    from spinner.runtime import hotcode, rehearsal
    from spinner.runtime.templates import warm_up

    warm_up()
    _read_one()
    rehearsal.prepare()
    hotcode.gather(rehearsal.rehearse_unseen)
    gc.collect()
    gc.freeze()


def _read_one() -> None:
    """Reads a small DAG once, so that a forked worker finds signatures, expressions and tables already built."""
    import logging
    from datetime import UTC, datetime

    from spinner.core import stack
    from spinner.core.dag import DAG
    from spinner.core.decorators import task
    from spinner.operators.bash import BashOperator
    from spinner.operators.empty import EmptyOperator
    from spinner.runtime.usage import meter

    def nothing(ti: object = None) -> None:
        """Does nothing."""

    start = datetime(2026, 1, 1, tzinfo=UTC)
    with DAG("rehearsal", schedule="@daily", start_date=start, tier=3, access_control={"x": {"can_dag_read"}}) as dag:
        task(nothing)() >> BashOperator(task_id="b", bash_command="true") >> EmptyOperator(task_id="e")
    dag.check()
    meter.usage()
    logging.Formatter("%(message)s")
    stack.reset()
