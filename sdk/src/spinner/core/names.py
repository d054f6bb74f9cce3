"""Words and limits of the authoring language: tiers, trigger rules, weight rules, ids."""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum

from spinner.exceptions import SpinnerDagError

_ID = re.compile(r"[A-Za-z0-9_.-]{1,250}")
_GROUP_ID = re.compile(r"[A-Za-z0-9_-]{1,250}")


class Tier(IntEnum):
    """How much a workflow matters: tier 1 the most."""

    TIER1 = 1
    TIER2 = 2
    TIER3 = 3


class TriggerRule(StrEnum):
    """Which states of its upstream tasks let a task run."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_SKIPPED = "all_skipped"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALWAYS = "always"


class WeightRule(StrEnum):
    """How a task's priority follows from those around it."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    ABSOLUTE = "absolute"
    # By a strategy object.
    CUSTOM = "custom"


def parse_trigger_rule(value: str, task_id: str) -> TriggerRule:
    """The trigger rule of that name; also the deprecated ``dummy`` and ``none_failed_or_skipped``.

    Raises SpinnerDagError for an unknown one.
    """
    if isinstance(value, TriggerRule):
        return value
    value = {"dummy": "always", "none_failed_or_skipped": "none_failed_min_one_success"}.get(value, value)
    try:
        return TriggerRule(value)
    except ValueError:
        raise SpinnerDagError(
            f"Task {task_id!r} has the unknown trigger rule {value!r}.",
            "Use one of: " + ", ".join(rule.value for rule in TriggerRule) + ".",
        ) from None


def parse_weight_rule(value: str, task_id: str) -> WeightRule:
    """The weight rule of that name. Raises SpinnerDagError for an unknown one."""
    try:
        rule = WeightRule(value)
        if rule is not WeightRule.CUSTOM:
            return rule
    except ValueError:
        pass
    raise SpinnerDagError(
        f"Task {task_id!r} has the unknown weight rule {value!r}.",
        "Use downstream, upstream, absolute, or an object with get_weight(ti).",
    )


def check_id(value: object, kind: str, *, group: bool = False) -> str:
    """``value`` when it can be an id. Raises SpinnerDagError."""
    pattern = _GROUP_ID if group else _ID
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    dot = "" if group else ", dots"
    raise SpinnerDagError(
        f"{value!r} cannot be the id of a {kind}.",
        f"Use 1 to 250 ASCII letters, digits{dot}, dashes and underscores.",
    )
