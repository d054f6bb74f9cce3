"""Bounds of the core: settings of the scheduler that a definition may ask for less or more of."""

from __future__ import annotations

from dataclasses import dataclass

from spinner_scheduler.domain import times


@dataclass(frozen=True, slots=True)
class Limits:
    """What a definition's 0 stands for, and the bounds of the core. Times in µs."""

    max_active_runs: int = 16
    max_active_tasks: int = 16
    default_pool_slots: int = 256
    backfill_pool_slots: int = 64
    # Runs of one backfill.
    max_backfill_runs: int = 10_000
    # Ended backfills kept per DAG, so that a repeated request finds them.
    keep_ended_backfills: int = 20
    max_map_length: int = 1024
    # Finished runs kept ready to be cleared, per DAG.
    keep_finished_runs: int = 30
    remembered_requests: int = 20_000
    # How much later than a worker's own time-out the scheduler acts.
    backstop: int = 120 * times.SECOND
    # 0: an order may wait for its executor for ever.
    queued_timeout: int = 0
    # A decision with more events rings no more timers and starts no more runs: those are for the next one, so that
    # thousands of DAGs due at once don't hold up the first. One input's consequences are never split.
    decision_events: int = 3_000
