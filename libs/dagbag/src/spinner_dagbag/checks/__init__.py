"""A8: the checks that DAG files pass before their definitions are published.

A check has a stable id, a severity, and a fix for people. Checks of definitions see the serialized DAG, so
they hold for every runtime; checks of sources see the syntax tree and what the file did while it was read.
Only errors keep a DAG from being published. A repository changes severities and thresholds, or switches
checks off, in `spinner-checks.yaml` at its root (see `config`).
"""

from __future__ import annotations

from spinner_dagbag.checks import identity, quality, resources, schedule, source
from spinner_dagbag.checks.config import CONFIG_FILE, CheckConfig, CheckConfigError
from spinner_dagbag.checks.model import Check, Finding, Severity, registered
from spinner_dagbag.checks.run import check_definition, check_source

__all__ = [
    "CONFIG_FILE",
    "Check",
    "CheckConfig",
    "CheckConfigError",
    "Finding",
    "Severity",
    "all_checks",
    "check_definition",
    "check_source",
]

_MODULES = (identity, schedule, resources, quality, source)


def all_checks() -> tuple[Check, ...]:
    """Every check, ordered by id."""
    return registered()
