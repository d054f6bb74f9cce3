"""Spinner's authoring language. Airflow's names and meanings; every name is loaded when it is first used.

from spinner import DAG, Tier, task
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinner.connections import Connection as Connection
    from spinner.core.assets import Asset as Asset
    from spinner.core.assets import AssetAlias as AssetAlias
    from spinner.core.assets import AssetAll as AssetAll
    from spinner.core.assets import AssetAny as AssetAny
    from spinner.core.assets import AssetWatcher as AssetWatcher
    from spinner.core.assets import Dataset as Dataset
    from spinner.core.assets import DatasetAlias as DatasetAlias
    from spinner.core.assets import Metadata as Metadata
    from spinner.core.dag import DAG as DAG
    from spinner.core.deadlines import AsyncCallback as AsyncCallback
    from spinner.core.deadlines import DeadlineAlert as DeadlineAlert
    from spinner.core.deadlines import DeadlineReference as DeadlineReference
    from spinner.core.deadlines import SyncCallback as SyncCallback
    from spinner.core.decorators import dag as dag
    from spinner.core.decorators import setup as setup
    from spinner.core.decorators import task as task
    from spinner.core.decorators import task_group as task_group
    from spinner.core.decorators import teardown as teardown
    from spinner.core.dynamic import DynamicDAG as DynamicDAG
    from spinner.core.edges import EdgeModifier as EdgeModifier
    from spinner.core.edges import Label as Label
    from spinner.core.edges import chain as chain
    from spinner.core.edges import chain_linear as chain_linear
    from spinner.core.edges import cross_downstream as cross_downstream
    from spinner.core.group import TaskGroup as TaskGroup
    from spinner.core.names import Tier as Tier
    from spinner.core.names import TriggerRule as TriggerRule
    from spinner.core.names import WeightRule as WeightRule
    from spinner.core.operator import BaseOperator as BaseOperator
    from spinner.core.params import Param as Param
    from spinner.core.partitions import DayWindow as DayWindow
    from spinner.core.partitions import HourWindow as HourWindow
    from spinner.core.partitions import IdentityMapper as IdentityMapper
    from spinner.core.partitions import MonthWindow as MonthWindow
    from spinner.core.partitions import PartitionMapper as PartitionMapper
    from spinner.core.partitions import QuarterWindow as QuarterWindow
    from spinner.core.partitions import RollupMapper as RollupMapper
    from spinner.core.partitions import StartOfDayMapper as StartOfDayMapper
    from spinner.core.partitions import StartOfHourMapper as StartOfHourMapper
    from spinner.core.partitions import StartOfMonthMapper as StartOfMonthMapper
    from spinner.core.partitions import StartOfQuarterMapper as StartOfQuarterMapper
    from spinner.core.partitions import StartOfWeekMapper as StartOfWeekMapper
    from spinner.core.partitions import StartOfYearMapper as StartOfYearMapper
    from spinner.core.partitions import WeekWindow as WeekWindow
    from spinner.core.partitions import YearWindow as YearWindow
    from spinner.core.retry_policy import ExceptionRetryPolicy as ExceptionRetryPolicy
    from spinner.core.retry_policy import RetryAction as RetryAction
    from spinner.core.retry_policy import RetryRule as RetryRule
    from spinner.core.xcom_arg import XComArg as XComArg
    from spinner.exceptions import FailTask as FailTask
    from spinner.exceptions import SkipTask as SkipTask
    from spinner.exceptions import SpinnerDagError as SpinnerDagError
    from spinner.operators.bash import BashOperator as BashOperator
    from spinner.operators.empty import EmptyOperator as EmptyOperator
    from spinner.operators.human import ApprovalOperator as ApprovalOperator
    from spinner.operators.human import HITLBranchOperator as HITLBranchOperator
    from spinner.operators.human import HITLEntryOperator as HITLEntryOperator
    from spinner.operators.human import HITLOperator as HITLOperator
    from spinner.operators.python import BranchPythonOperator as BranchPythonOperator
    from spinner.operators.python import PythonOperator as PythonOperator
    from spinner.operators.python import ShortCircuitOperator as ShortCircuitOperator
    from spinner.operators.python import get_current_context as get_current_context
    from spinner.timetables import AssetOrTimeSchedule as AssetOrTimeSchedule
    from spinner.timetables import CronPartitionTimetable as CronPartitionTimetable
    from spinner.timetables import PartitionedAssetTimetable as PartitionedAssetTimetable
    from spinner.variables import Variable as Variable

__version__ = "0.1.0"

_HOMES = {
    "ApprovalOperator": "operators.human",
    "Asset": "core.assets",
    "AssetAlias": "core.assets",
    "AssetAll": "core.assets",
    "AssetAny": "core.assets",
    "AssetOrTimeSchedule": "timetables",
    "AssetWatcher": "core.assets",
    "AsyncCallback": "core.deadlines",
    "BaseOperator": "core.operator",
    "BashOperator": "operators.bash",
    "BranchPythonOperator": "operators.python",
    "Connection": "connections",
    "CronPartitionTimetable": "timetables",
    "DAG": "core.dag",
    "Dataset": "core.assets",
    "DatasetAlias": "core.assets",
    "DayWindow": "core.partitions",
    "DeadlineAlert": "core.deadlines",
    "DeadlineReference": "core.deadlines",
    "DynamicDAG": "core.dynamic",
    "EdgeModifier": "core.edges",
    "EmptyOperator": "operators.empty",
    "ExceptionRetryPolicy": "core.retry_policy",
    "FailTask": "exceptions",
    "HITLBranchOperator": "operators.human",
    "HITLEntryOperator": "operators.human",
    "HITLOperator": "operators.human",
    "HourWindow": "core.partitions",
    "IdentityMapper": "core.partitions",
    "Label": "core.edges",
    "Metadata": "core.assets",
    "MonthWindow": "core.partitions",
    "Param": "core.params",
    "PartitionMapper": "core.partitions",
    "PartitionedAssetTimetable": "timetables",
    "PythonOperator": "operators.python",
    "QuarterWindow": "core.partitions",
    "RetryAction": "core.retry_policy",
    "RetryRule": "core.retry_policy",
    "RollupMapper": "core.partitions",
    "ShortCircuitOperator": "operators.python",
    "SkipTask": "exceptions",
    "SpinnerDagError": "exceptions",
    "StartOfDayMapper": "core.partitions",
    "StartOfHourMapper": "core.partitions",
    "StartOfMonthMapper": "core.partitions",
    "StartOfQuarterMapper": "core.partitions",
    "StartOfWeekMapper": "core.partitions",
    "StartOfYearMapper": "core.partitions",
    "SyncCallback": "core.deadlines",
    "TaskGroup": "core.group",
    "Tier": "core.names",
    "TriggerRule": "core.names",
    "Variable": "variables",
    "WeekWindow": "core.partitions",
    "WeightRule": "core.names",
    "XComArg": "core.xcom_arg",
    "YearWindow": "core.partitions",
    "chain": "core.edges",
    "chain_linear": "core.edges",
    "cross_downstream": "core.edges",
    "dag": "core.decorators",
    "get_current_context": "operators.python",
    "setup": "core.decorators",
    "task": "core.decorators",
    "task_group": "core.decorators",
    "teardown": "core.decorators",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'spinner' has no attribute {name!r}")
    value = getattr(import_module(f"spinner.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
