"""Operators, one module a kind; each name is also importable from here and is loaded when first used."""

from __future__ import annotations

from typing import Any

_HOMES = {
    "ApprovalOperator": "spinner.operators.human",
    "BaseOperator": "spinner.core.operator",
    "BashOperator": "spinner.operators.bash",
    "BranchPythonOperator": "spinner.operators.python",
    "BaseBranchOperator": "spinner.operators.branch",
    "EmptyOperator": "spinner.operators.empty",
    "HITLBranchOperator": "spinner.operators.human",
    "HITLEntryOperator": "spinner.operators.human",
    "HITLOperator": "spinner.operators.human",
    "LatestOnlyOperator": "spinner.operators.latest_only",
    "PythonOperator": "spinner.operators.python",
    "ShortCircuitOperator": "spinner.operators.python",
    "TriggerDagRunOperator": "spinner.operators.trigger_dagrun",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'spinner.operators' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
