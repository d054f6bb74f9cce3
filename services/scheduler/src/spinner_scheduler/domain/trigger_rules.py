"""When a task may run, decided from counts of its upstream task instances alone.

`verdict` implements Airflow's thirteen trigger rules. Counts are kept by `run.Run` as instances change state, so
asking costs the same for two upstream tasks as for ten thousand.
"""

from __future__ import annotations

from spinner_proto.definitions.v1.definitions_pb2 import TriggerRule

from spinner_scheduler.domain.states import SCHEDULED, SKIPPED, UPSTREAM_FAILED

ALL_SUCCESS = int(TriggerRule.TRIGGER_RULE_ALL_SUCCESS)
ALL_FAILED = int(TriggerRule.TRIGGER_RULE_ALL_FAILED)
ALL_DONE = int(TriggerRule.TRIGGER_RULE_ALL_DONE)
ALL_DONE_SETUP_SUCCESS = int(TriggerRule.TRIGGER_RULE_ALL_DONE_SETUP_SUCCESS)
ALL_DONE_MIN_ONE_SUCCESS = int(TriggerRule.TRIGGER_RULE_ALL_DONE_MIN_ONE_SUCCESS)
ALL_SKIPPED = int(TriggerRule.TRIGGER_RULE_ALL_SKIPPED)
ONE_SUCCESS = int(TriggerRule.TRIGGER_RULE_ONE_SUCCESS)
ONE_FAILED = int(TriggerRule.TRIGGER_RULE_ONE_FAILED)
ONE_DONE = int(TriggerRule.TRIGGER_RULE_ONE_DONE)
NONE_FAILED = int(TriggerRule.TRIGGER_RULE_NONE_FAILED)
NONE_FAILED_MIN_ONE_SUCCESS = int(TriggerRule.TRIGGER_RULE_NONE_FAILED_MIN_ONE_SUCCESS)
NONE_SKIPPED = int(TriggerRule.TRIGGER_RULE_NONE_SKIPPED)
ALWAYS = int(TriggerRule.TRIGGER_RULE_ALWAYS)

NAMES = {int(value): name.removeprefix("TRIGGER_RULE_").lower() for name, value in TriggerRule.items() if value}

WAIT = 0
READY = SCHEDULED

# Rules that can't be decided while some upstream is unfinished and none failed or was skipped.
WAITS_FOR_ALL = frozenset(
    {
        ALL_SUCCESS, ALL_FAILED, ALL_DONE, ALL_DONE_SETUP_SUCCESS, ALL_DONE_MIN_ONE_SUCCESS, ALL_SKIPPED,
        NONE_FAILED, NONE_FAILED_MIN_ONE_SUCCESS, NONE_SKIPPED,
    }
)  # fmt: skip

# Of those, the ones that a single success decides.
SUCCESS_DECIDES = frozenset({ALL_FAILED, ALL_SKIPPED})


def verdict(
    rule: int,
    total: int,
    success: int,
    failed: int,
    skipped: int,
    upstream_failed: int,
    setups: int = 0,
    setup_success: int = 0,
    setup_skipped: int = 0,
) -> int:
    """Returns WAIT, READY, or the state SKIPPED or UPSTREAM_FAILED that the task gets without running.

    `total` counts all upstream instances, the others those that ended so. `setups` and its companions count the
    setup tasks among them, for ALL_DONE_SETUP_SUCCESS.
    """
    if rule == ALL_SUCCESS:
        if failed or upstream_failed:
            return UPSTREAM_FAILED
        if skipped:
            return SKIPPED
        return READY if success >= total else WAIT
    if rule == ALWAYS or total == 0:
        return READY
    bad = failed + upstream_failed
    done = success + bad + skipped >= total
    if rule == ALL_DONE:
        return READY if done else WAIT
    if rule == NONE_FAILED:
        if bad:
            return UPSTREAM_FAILED
        return READY if done else WAIT
    if rule == NONE_FAILED_MIN_ONE_SUCCESS:
        if bad:
            return UPSTREAM_FAILED
        if skipped == total:
            return SKIPPED
        return READY if done else WAIT
    if rule == ONE_SUCCESS:
        if success:
            return READY
        if not done:
            return WAIT
        return SKIPPED if skipped == total else UPSTREAM_FAILED
    if rule == ONE_FAILED:
        if bad:
            return READY
        return SKIPPED if done else WAIT
    if rule == ONE_DONE:
        if success or failed:
            return READY
        return SKIPPED if done else WAIT
    if rule == ALL_FAILED:
        if success or skipped:
            return SKIPPED
        return READY if bad >= total else WAIT
    if rule == ALL_SKIPPED:
        if success or bad:
            return SKIPPED
        return READY if skipped >= total else WAIT
    if rule == NONE_SKIPPED:
        if skipped:
            return SKIPPED
        return READY if done else WAIT
    if rule == ALL_DONE_MIN_ONE_SUCCESS:
        if not done:
            return WAIT
        if success:
            return READY
        return SKIPPED if skipped == total else UPSTREAM_FAILED
    if rule == ALL_DONE_SETUP_SUCCESS:
        if not done:
            return WAIT
        if setups and setup_skipped >= setups:
            return SKIPPED
        if setups and not setup_success:
            return UPSTREAM_FAILED
        return READY
    raise ValueError(f"trigger rule {rule} is unknown to this scheduler")
