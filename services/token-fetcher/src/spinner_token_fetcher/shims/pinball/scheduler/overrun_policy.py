"""What to do when the previous run still runs."""

from __future__ import annotations


class OverrunPolicy:
    SKIP, ABORT_RUNNING, DELAY, DELAY_UNTIL_SUCCESS, START_NEW = range(5)

    _NAMES = ("SKIP", "ABORT_RUNNING", "DELAY", "DELAY_UNTIL_SUCCESS", "START_NEW")

    @staticmethod
    def to_string(policy: int) -> str:
        return OverrunPolicy._NAMES[policy]

    @staticmethod
    def from_string(policy_name: str) -> int:
        return OverrunPolicy._NAMES.index(policy_name)
