"""Where older repositories import the overrun policies from."""

# The shims are imported by their own top-level names, which exist only in the child process.
# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from pinball.scheduler.overrun_policy import OverrunPolicy

__all__ = ["OverrunPolicy"]
