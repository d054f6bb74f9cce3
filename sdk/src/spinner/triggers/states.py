"""States of other runs and tasks, told to triggers as they change.

Nobody asks again and again: a triggerer names each run that its triggers wait for once, and its executor tells it the
states when an event changes them. Triggers that wait for the same thing share it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from spinner.exceptions import RuntimeUnavailable


class StateSource(Protocol):
    """What a triggerer installs."""

    def watch(
        self, dag_id: str, run_id: str, logical_date: datetime | None, task_ids: tuple[str, ...]
    ) -> AsyncIterator[list[str] | None]:
        """See :func:`watch_states`."""


_source: StateSource | None = None


def set_source(source: StateSource | None) -> None:
    """Makes it the source of this process."""
    global _source
    _source = source


def watch_states(
    dag_id: str, *, run_id: str = "", logical_date: datetime | None = None, task_ids: Sequence[str] = ()
) -> AsyncIterator[list[str] | None]:
    """Yields the states now, and again each time that they have changed; what came between may be left out.

    The run is the one with ``run_id``, or the latest with ``logical_date``. Yielded are the states of all instances of
    ``task_ids`` ("none" for a task without any), without task ids the state of the run alone; None: there is no such
    run. Raises RuntimeUnavailable outside of a triggerer.
    """
    if _source is None:
        raise RuntimeUnavailable("States of other runs are told to triggers in a triggerer only.")
    return _source.watch(dag_id, run_id, logical_date, tuple(task_ids))
