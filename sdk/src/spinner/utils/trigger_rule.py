"""Trigger rules."""

from spinner.core.names import TriggerRule

__all__ = ["TriggerRule"]
