"""Airflow's module of decorators."""

from spinner.core.decorators import dag, setup, task, task_group, teardown

__all__ = ["dag", "setup", "task", "task_group", "teardown"]
