"""Airflow's module of the common classes."""

from spinner.connections import Connection
from spinner.core.dag import DAG
from spinner.core.operator import BaseOperator
from spinner.core.params import Param
from spinner.core.xcom_arg import XComArg
from spinner.variables import Variable

__all__ = ["DAG", "BaseOperator", "Connection", "Param", "Variable", "XComArg"]
